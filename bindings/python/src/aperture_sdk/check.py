"""The agent's whole answer about a flow: CheckResponse, and the messages and enumerations in it.

The messages are read-only, and look like those of Protocol Buffers in Python, without the package: fields have the
protocol's names; one that is unset has its default, which is an empty message where the field is a message, so that
flow.check_response.limiter_decisions[0].rate_limiter_info.tokens_info.remaining needs no test; HasField tells whether a
message is set, and WhichOneof which message of a group.
"""

import base64
import enum
import types
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Callable, ClassVar, Generic, Optional, TypeVar, Union, overload

__all__ = [
    "CacheLookupResponse",
    "CacheLookupStatus",
    "CacheOperationStatus",
    "CheckResponse",
    "ClassifierInfo",
    "Duration",
    "FluxMeterInfo",
    "KeyLookupResponse",
    "LimiterDecision",
    "StatusCode",
    "Timestamp",
]

_T = TypeVar("_T")
_M = TypeVar("_M", bound="Message")
_E = TypeVar("_E", bound="_Enumeration")


class _Field(Generic[_T]):
    """A field of a message: how its value is read from JSON, and what it is when it is unset."""

    def __init__(self, decode: Callable[[Any], _T], default: Callable[[], _T], oneof: Optional[str] = None) -> None:
        self.decode = decode
        self._default = default
        self.oneof = oneof
        self.has_presence = False

    def __set_name__(self, owner: type["Message"], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, message: None, owner: type["Message"]) -> "_Field[_T]": ...

    @overload
    def __get__(self, message: "Message", owner: type["Message"]) -> _T: ...

    def __get__(self, message: Optional["Message"], owner: type["Message"]) -> "Union[_Field[_T], _T]":
        if message is None:
            return self
        try:
            value: _T = message._values[self._name]
        except KeyError:
            value = self._default()
        return value

    def __set__(self, message: "Message", value: object) -> None:
        raise AttributeError(f"{self._name}: the agent's answer cannot be changed")


class Message:
    """A part of the answer."""

    __slots__ = ("_values",)

    _fields: ClassVar[dict[str, _Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        cls._fields = {name: field for name, field in vars(cls).items() if isinstance(field, _Field)}

    def __init__(self, values: Optional[Mapping[str, Any]] = None) -> None:
        """Take the values of a message in the JSON form of Protocol Buffers, with the protocol's field names."""
        fields = self._fields
        # A field that is not known is one of a newer agent.
        self._values = {name: fields[name].decode(value) for name, value in (values or {}).items() if name in fields}

    def HasField(self, field_name: str) -> bool:
        """Say whether a field that is a message is set, or any field of a group. Other fields are always there."""
        field = self._fields.get(field_name)
        if field is None:
            return self.WhichOneof(field_name) is not None
        if not field.has_presence:
            raise ValueError(f"{type(self).__name__}.{field_name} is no message: it is always there")
        return field_name in self._values

    def WhichOneof(self, oneof_group: str) -> Optional[str]:
        """Return the name of the field of a group that is set, or None."""
        names = [name for name, field in self._fields.items() if field.oneof == oneof_group]
        if not names:
            raise ValueError(f"{type(self).__name__} has no {oneof_group}")
        return next((name for name in names if name in self._values), None)

    def __repr__(self) -> str:
        # Without values: there are labels among them, and what the cache has.
        return f"<{type(self).__name__}{'' if not self._values else ': ' + ', '.join(self._values)}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._values == self._values

    __hash__ = None  # type: ignore[assignment]  # as of messages of Protocol Buffers


class _Enumeration(enum.IntEnum):
    """An enumeration of the protocol. A number of a newer agent is a member without a name in the protocol."""

    @classmethod
    def _missing_(cls, value: object) -> Optional["_Enumeration"]:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member


def _text() -> _Field[str]:
    return _Field(str, str)


def _boolean() -> _Field[bool]:
    return _Field(bool, bool)


def _integer() -> _Field[int]:
    return _Field(int, int)  # 64-bit integers are text in JSON


def _double() -> _Field[float]:
    return _Field(float, float)  # also of the texts NaN, Infinity and -Infinity


def _binary() -> _Field[bytes]:
    return _Field(base64.b64decode, bytes)


def _enumeration(kind: type[_E]) -> _Field[_E]:
    return _Field(kind, lambda: kind(0))


def _message(kind: Callable[[Any], _M], oneof: Optional[str] = None) -> _Field[_M]:
    field = _Field(kind, lambda: kind(None), oneof)
    field.has_presence = True
    return field


def _list(decode: Callable[[Any], _T]) -> _Field[tuple[_T, ...]]:
    return _Field(lambda values: tuple(decode(value) for value in values), tuple)


def _map(decode: Callable[[Any], _T]) -> _Field[Mapping[str, _T]]:
    def decode_all(values: Mapping[str, Any]) -> Mapping[str, _T]:
        return types.MappingProxyType({key: decode(value) for key, value in values.items()})

    return _Field(decode_all, lambda: types.MappingProxyType({}))


_EPOCH = datetime(1970, 1, 1)


class Timestamp(Message):
    """A moment on the agent's clock, in UTC."""

    __slots__ = ()

    seconds = _integer()  # since the beginning of 1970
    nanos = _integer()

    def __init__(self, text: Optional[str] = None) -> None:
        super().__init__()
        if text is not None:  # such as 2024-02-29T12:34:56.789Z
            moment, _, fraction = text.rstrip("Z").partition(".")
            passed = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S") - _EPOCH
            self._values = {"seconds": passed.days * 86400 + passed.seconds, "nanos": _nanos(fraction)}

    def ToDatetime(self, tzinfo: Optional[tzinfo] = None) -> datetime:
        """Return a datetime of a time zone, or a naive one in UTC; less than a microsecond is cut off."""
        moment = _EPOCH + timedelta(seconds=self.seconds, microseconds=self.nanos // 1000)
        return moment if tzinfo is None else moment.replace(tzinfo=timezone.utc).astimezone(tzinfo)


class Duration(Message):
    """A time to wait."""

    __slots__ = ()

    seconds = _integer()
    nanos = _integer()

    def __init__(self, text: Optional[str] = None) -> None:
        super().__init__()
        if text is not None:  # such as -1.500s
            whole, _, fraction = text.rstrip("s").partition(".")
            sign = -1 if whole.startswith("-") else 1
            self._values = {"seconds": int(whole), "nanos": sign * _nanos(fraction)}

    def ToTimedelta(self) -> timedelta:
        """Return a timedelta; less than a microsecond is cut off."""
        return timedelta(seconds=self.seconds, microseconds=int(self.nanos / 1000))


def _nanos(fraction: str) -> int:
    return int(fraction.ljust(9, "0")) if fraction else 0


class StatusCode(_Enumeration):
    """An HTTP status by its registered name; Empty where none was set."""

    Empty = 0
    Continue = 100
    OK = 200
    Created = 201
    Accepted = 202
    NonAuthoritativeInformation = 203
    NoContent = 204
    ResetContent = 205
    PartialContent = 206
    MultiStatus = 207
    AlreadyReported = 208
    IMUsed = 226
    MultipleChoices = 300
    MovedPermanently = 301
    Found = 302
    SeeOther = 303
    NotModified = 304
    UseProxy = 305
    TemporaryRedirect = 307
    PermanentRedirect = 308
    BadRequest = 400
    Unauthorized = 401
    PaymentRequired = 402
    Forbidden = 403
    NotFound = 404
    MethodNotAllowed = 405
    NotAcceptable = 406
    ProxyAuthenticationRequired = 407
    RequestTimeout = 408
    Conflict = 409
    Gone = 410
    LengthRequired = 411
    PreconditionFailed = 412
    PayloadTooLarge = 413
    URITooLong = 414
    UnsupportedMediaType = 415
    RangeNotSatisfiable = 416
    ExpectationFailed = 417
    MisdirectedRequest = 421
    UnprocessableEntity = 422
    Locked = 423
    FailedDependency = 424
    UpgradeRequired = 426
    PreconditionRequired = 428
    TooManyRequests = 429
    RequestHeaderFieldsTooLarge = 431
    InternalServerError = 500
    NotImplemented = 501
    BadGateway = 502
    ServiceUnavailable = 503
    GatewayTimeout = 504
    HTTPVersionNotSupported = 505
    VariantAlsoNegotiates = 506
    InsufficientStorage = 507
    LoopDetected = 508
    NotExtended = 510
    NetworkAuthenticationRequired = 511


class CacheLookupStatus(_Enumeration):
    """Whether a key was found. A message that is not there reads as HIT: test it with HasField."""

    HIT = 0
    MISS = 1


class CacheOperationStatus(_Enumeration):
    """Whether the cache worked."""

    SUCCESS = 0
    ERROR = 1


class KeyLookupResponse(Message):
    """What the cache had under a key; Flow.result_cache() and Flow.global_cache() tell it with less to think of."""

    __slots__ = ()

    value = _binary()
    lookup_status = _enumeration(CacheLookupStatus)
    operation_status = _enumeration(CacheOperationStatus)
    error = _text()


class CacheLookupResponse(Message):
    """What the caches had under the keys of the flow."""

    __slots__ = ()

    result_cache_response = _message(KeyLookupResponse)
    global_cache_responses = _map(KeyLookupResponse)


class ClassifierInfo(Message):
    """What a classifier did with the flow."""

    __slots__ = ()

    class Error(_Enumeration):
        """Why it failed."""

        ERROR_NONE = 0
        ERROR_EVAL_FAILED = 1
        ERROR_EMPTY_RESULTSET = 2
        ERROR_AMBIGUOUS_RESULTSET = 3
        ERROR_MULTI_EXPRESSION = 4
        ERROR_EXPRESSION_NOT_MAP = 5

    ERROR_NONE = Error.ERROR_NONE
    ERROR_EVAL_FAILED = Error.ERROR_EVAL_FAILED
    ERROR_EMPTY_RESULTSET = Error.ERROR_EMPTY_RESULTSET
    ERROR_AMBIGUOUS_RESULTSET = Error.ERROR_AMBIGUOUS_RESULTSET
    ERROR_MULTI_EXPRESSION = Error.ERROR_MULTI_EXPRESSION
    ERROR_EXPRESSION_NOT_MAP = Error.ERROR_EXPRESSION_NOT_MAP

    policy_name = _text()
    policy_hash = _text()
    classifier_index = _integer()
    error = _enumeration(Error)


class FluxMeterInfo(Message):
    """A flux meter that measures the flow."""

    __slots__ = ()

    flux_meter_name = _text()


def _tokens_info() -> "_Field[LimiterDecision.TokensInfo]":
    return _message(lambda values: LimiterDecision.TokensInfo(values))  # noqa: PLW0108  # it is defined later


class LimiterDecision(Message):
    """What one limiter decided about the flow."""

    __slots__ = ()

    class LimiterReason(_Enumeration):
        """Why it decided so."""

        LIMITER_REASON_UNSPECIFIED = 0
        LIMITER_REASON_KEY_NOT_FOUND = 1  # the flow does not carry the label that the limiter counts by

    LIMITER_REASON_UNSPECIFIED = LimiterReason.LIMITER_REASON_UNSPECIFIED
    LIMITER_REASON_KEY_NOT_FOUND = LimiterReason.LIMITER_REASON_KEY_NOT_FOUND

    class TokensInfo(Message):
        """The tokens of a limiter: those that remain, those that it has now, and those that the flow took."""

        __slots__ = ()

        remaining = _double()
        current = _double()
        consumed = _double()

    class RateLimiterInfo(Message):
        """What a rate limiter did."""

        __slots__ = ()

        label = _text()
        tokens_info = _tokens_info()

    class SchedulerInfo(Message):
        """What a load scheduler did."""

        __slots__ = ()

        workload_index = _text()
        tokens_info = _tokens_info()
        priority = _double()

    class SamplerInfo(Message):
        """What a sampler did."""

        __slots__ = ()

        label = _text()

    class QuotaSchedulerInfo(Message):
        """What a quota scheduler did."""

        __slots__ = ()

        label = _text()
        workload_index = _text()
        tokens_info = _tokens_info()
        priority = _double()

    class ConcurrencyLimiterInfo(Message):
        """What a concurrency limiter did."""

        __slots__ = ()

        label = _text()
        tokens_info = _tokens_info()
        request_id = _text()

    class ConcurrencySchedulerInfo(Message):
        """What a concurrency scheduler did."""

        __slots__ = ()

        label = _text()
        workload_index = _text()
        tokens_info = _tokens_info()
        priority = _double()
        request_id = _text()

    policy_name = _text()
    policy_hash = _text()
    component_id = _text()
    dropped = _boolean()
    reason = _enumeration(LimiterReason)
    denied_response_status_code = _enumeration(StatusCode)
    wait_time = _message(Duration)
    rate_limiter_info = _message(RateLimiterInfo, "details")
    load_scheduler_info = _message(SchedulerInfo, "details")
    sampler_info = _message(SamplerInfo, "details")
    quota_scheduler_info = _message(QuotaSchedulerInfo, "details")
    concurrency_limiter_info = _message(ConcurrencyLimiterInfo, "details")
    concurrency_scheduler_info = _message(ConcurrencySchedulerInfo, "details")


class CheckResponse(Message):
    """A decision of the agent."""

    __slots__ = ()

    class DecisionType(_Enumeration):
        """What was decided."""

        DECISION_TYPE_ACCEPTED = 0
        DECISION_TYPE_REJECTED = 1

    DECISION_TYPE_ACCEPTED = DecisionType.DECISION_TYPE_ACCEPTED
    DECISION_TYPE_REJECTED = DecisionType.DECISION_TYPE_REJECTED

    class RejectReason(_Enumeration):
        """Which kind of component rejected the flow."""

        REJECT_REASON_NONE = 0
        REJECT_REASON_RATE_LIMITED = 1
        REJECT_REASON_NO_TOKENS = 2
        REJECT_REASON_NOT_SAMPLED = 3
        REJECT_REASON_NO_MATCHING_RAMP = 4

    REJECT_REASON_NONE = RejectReason.REJECT_REASON_NONE
    REJECT_REASON_RATE_LIMITED = RejectReason.REJECT_REASON_RATE_LIMITED
    REJECT_REASON_NO_TOKENS = RejectReason.REJECT_REASON_NO_TOKENS
    REJECT_REASON_NOT_SAMPLED = RejectReason.REJECT_REASON_NOT_SAMPLED
    REJECT_REASON_NO_MATCHING_RAMP = RejectReason.REJECT_REASON_NO_MATCHING_RAMP

    start = _message(Timestamp)
    end = _message(Timestamp)
    services = _list(str)
    control_point = _text()
    flow_label_keys = _list(str)
    telemetry_flow_labels = _map(str)
    decision_type = _enumeration(DecisionType)
    reject_reason = _enumeration(RejectReason)
    classifier_infos = _list(ClassifierInfo)
    flux_meter_infos = _list(FluxMeterInfo)
    limiter_decisions = _list(LimiterDecision)
    wait_time = _message(Duration)
    denied_response_status_code = _enumeration(StatusCode)
    cache_lookup_response = _message(CacheLookupResponse)
    expect_end = _boolean()
