"""Flows: pieces of work that asked whether they may run."""

import contextlib
import ctypes
import enum
import json
import logging
import sys
import warnings
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from . import _abi, _arguments, errors
from ._abi import CacheScope, Code
from ._arguments import Timeout, Value
from ._calls import FORKED, OK, PENDING, Call, CallQueue, Outcome, running_loop
from ._library import read
from ._memory import DECISION
from .cache import KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, LookupStatus, delete, read_entry, store

if TYPE_CHECKING:
    from .check import CheckResponse
    from .client import ApertureClient

__all__ = [
    "EndResponse",
    "Flow",
    "FlowDecision",
    "FlowEndResponse",
    "FlowStatus",
    "InflightRequestRef",
    "KeyDeleteResponse",
    "KeyLookupResponse",
    "KeyUpsertResponse",
    "LookupStatus",
    "RejectReason",
    "TokenReturnStatus",
    "UnreachableReason",
]

_logger = logging.getLogger("aperture-py")

UnreachableReason = errors.UnreachableReason


class FlowDecision(enum.Enum):
    """What was decided about a flow."""

    Accepted = 0
    Rejected = 1
    Unreachable = 2


class RejectReason(enum.Enum):
    """Which kind of component rejected a flow."""

    NONE = 0  # the flow was not rejected
    RATE_LIMITED = 1  # a rate limiter or a concurrency limiter
    NO_TOKENS = 2  # a scheduler
    NOT_SAMPLED = 3  # a sampler
    NO_MATCHING_RAMP = 4  # in ramp mode, no load ramp admitted the flow


class FlowStatus(enum.Enum):
    """How the work of a flow went."""

    OK = 0
    Error = 1


_DECISIONS = tuple(FlowDecision)

# Where the fields of a decision are.
_, _DECISION, _SHOULD_RUN, _REJECT_REASON, _UNREACHABLE_REASON, _HTTP_STATUS, _, _RETRY_AFTER_NS = range(
    len(_abi.Decision._fields_)
)


class Flow(Outcome["Flow"]):
    """A piece of work that asked whether it may run. ApertureClient.start_flow makes it.

    Without a running event loop it is decided. In a running event loop it may be pending: await it to wait for the
    decision without blocking the loop. Without an await, the first use waits for it.

    End every flow, whether it runs or not: call end(), or use the flow in a with or async with block, which also sets
    the status Error when an exception leaves it. One that nobody ended is ended when it is collected, as failed, with
    a ResourceWarning. Its methods may be called in any thread.

    A flow belongs to the process that started it. In a forked child its decision can still be read, and the rest is a
    ForkedError: its parent ends it.
    """

    __slots__ = (
        "__weakref__",
        "_check_response",  # absent until it is asked for
        "_client",
        "_control_point",
        "_details",
        "_ended",
        "_failure",
        "_handle",
        "_queue",
        "_result_cache_key",
    )

    _check_response: "Optional[CheckResponse]"

    def __init__(
        self,
        client: "ApertureClient",
        queue: CallQueue,
        handle: int,
        decision: _abi.Decision,
        call: Optional[Call],
        control_point: str,
        result_cache_key: Optional[str],
    ) -> None:
        self._control_point = control_point
        self._result_cache_key = result_cache_key
        self._client = client  # kept, because a client that nobody has is closed
        self._queue = queue  # of the process that started the flow
        self._handle = handle
        self._call = call
        self._steps = None
        self._ended = False
        self._failure: Optional[errors.ApertureError] = None
        # The fields of aperture_decision.
        self._details: tuple[int, ...] = DECISION.unpack_from(decision) if call is None else ()

    def __del__(
        self,
        finalizing: Callable[[], bool] = sys.is_finalizing,
        warn: Callable[..., None] = warnings.warn,
    ) -> None:
        if finalizing():
            return
        if self._handle:
            # The library ends it, as failed, if nobody did.
            self._queue.library.flow_close(self._handle, None)
            if not self._ended and not self._queue.of_parent():
                warn(f"{self!r} was never ended", ResourceWarning, source=self)
        elif self._call is not None and not self._call.done:
            self._call.cancel()

    def __repr__(self) -> str:
        if self._call is not None:
            state = "pending"
        elif self._failure is not None:
            state = "cancelled"
        else:
            state = _DECISIONS[self._details[_DECISION]].name
        return f"<Flow {state}{' ended' if self._ended else ''}>"

    @property
    def decision(self) -> FlowDecision:
        """What was decided."""
        self._wait()
        return _DECISIONS[self._details[_DECISION]]

    @property
    def success(self) -> bool:
        """Whether there is a decision, of either kind. Without one the flow is Unreachable, and error() says why."""
        self._wait()
        return self._details[_DECISION] != _abi.DecisionType.UNREACHABLE

    def should_run(self) -> bool:
        """Whether to do the work. True as well when nothing could be decided, except in ramp mode."""
        if self._call is not None or self._failure is not None:
            self._wait()
        return self._details[_SHOULD_RUN] == 1

    @property
    def reject_reason(self) -> RejectReason:
        """Which kind of component rejected the flow."""
        self._wait()
        return RejectReason(self._details[_REJECT_REASON])

    @property
    def unreachable_reason(self) -> UnreachableReason:
        """Why nothing was decided."""
        self._wait()
        return UnreachableReason(self._details[_UNREACHABLE_REASON])

    def http_response_code(self) -> int:
        """The HTTP status to answer with: 200 when the work should run, else the policy's, or 429, 503 or 403."""
        self._wait()
        return self._details[_HTTP_STATUS]

    def retry_after(self) -> Optional[timedelta]:
        """How long a rejected caller should wait before it tries again, or None when the decision does not say."""
        self._wait()
        nanoseconds = self._details[_RETRY_AFTER_NS]
        if nanoseconds == _abi.NO_RETRY_AFTER:
            return None
        return timedelta(microseconds=-(-nanoseconds // 1000))  # rounded up: a try that is too early is rejected

    def error(self) -> Optional[errors.ApertureError]:
        """Why there is no decision, or None when there is one."""
        self._join()
        if self._failure is not None or self._details[_DECISION] != _abi.DecisionType.UNREACHABLE:
            return self._failure
        failure = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        code = self._queue.library.flow_error(self._handle, ctypes.byref(failure), None)
        if code == FORKED:
            message = "nothing was decided about the flow; only the parent of this process knows more"
        elif code != OK:
            return self._queue.library.failure(code)
        else:
            message = failure.message.decode("utf-8", "replace")
        return errors.UnreachableError(message, reason=UnreachableReason(self._details[_UNREACHABLE_REASON]))

    @property
    def check_response(self) -> "Optional[CheckResponse]":
        """The agent's whole answer, or None when nothing was decided. See aperture_sdk.check."""
        self._wait()
        try:
            return self._check_response
        except AttributeError:  # it was not asked for yet
            self._check_response = self._read_check_response()
            return self._check_response

    def _read_check_response(self) -> "Optional[CheckResponse]":
        library = self._queue.library
        code, text, error = read(library.flow_check_response, self._handle)
        if code != OK:
            raise library.failure(code, error)
        if not text:
            return None
        from .check import CheckResponse  # noqa: PLC0415  # few programs need it

        return CheckResponse(json.loads(text))

    def set_status(self, status: FlowStatus) -> None:
        """Say how the work went; without this it went well. The last status before end() counts."""
        if not isinstance(status, FlowStatus):
            raise TypeError(f"status: must be FlowStatus.OK or FlowStatus.Error, not {type(status).__name__}")
        self._wait()
        library = self._queue.library
        code = library.flow_set_status(self._handle, status._value_, None)
        if code == Code.ERROR_ALREADY_ENDED:
            _logger.warning("set_status comes after the end of the flow and has no effect")
        elif code != OK:
            raise library.failure(code)

    def set_attribute(self, key: str, value: Union[str, int, float]) -> None:
        """Give the flow's span an attribute, such as the number of tokens that a request used: policies can measure it.

        An int must fit into 64 bits, and a float must be finite. The last value of a key before end() counts. A flow
        has at most 64 attributes; keys that begin with "aperture." belong to the library.
        """
        attribute, _kept = _arguments.attribute(key, value)
        self._wait()
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        library = self._queue.library
        code = library.flow_set_attribute(self._handle, ctypes.byref(attribute), ctypes.byref(error))
        if code == Code.ERROR_ALREADY_ENDED:
            _logger.warning("set_attribute comes after the end of the flow and has no effect")
        elif code != OK:
            raise library.failure(code, error)

    def result_cache(self) -> KeyLookupResponse:
        """What the result cache had under FlowParams.result_cache_key."""
        return self._look_up(CacheScope.CACHE_RESULT, "")

    def global_cache(self, key: str) -> KeyLookupResponse:
        """What the global cache had under one of FlowParams.global_cache_keys."""
        return self._look_up(CacheScope.CACHE_GLOBAL, key)

    def _look_up(self, scope: CacheScope, key: str) -> KeyLookupResponse:
        self._join()
        if self._failure is not None:
            return KeyLookupResponse(error=self._failure)
        return read_entry(self._client, self._queue.library.flow_cache_value, self._handle, scope, key)

    def set_result_cache(self, value: Value, ttl: timedelta, *, timeout: Optional[Timeout] = None) -> KeyUpsertResponse:
        """Store the flow's result under FlowParams.result_cache_key, for as long as ttl. See ApertureClient.cache_set.

        This and the other changes of the caches may be made at any time, also after the end of the flow.
        """
        key = self._result_cache_key or None
        return store(self._client, self._control_point, CacheScope.CACHE_RESULT, key, value, ttl, timeout)

    def delete_result_cache(self, *, timeout: Optional[Timeout] = None) -> KeyDeleteResponse:
        """Remove what is stored under FlowParams.result_cache_key. See ApertureClient.cache_delete."""
        key = self._result_cache_key or None
        return delete(self._client, self._control_point, CacheScope.CACHE_RESULT, key, timeout)

    def set_global_cache(
        self, key: str, value: Value, ttl: timedelta, *, timeout: Optional[Timeout] = None
    ) -> KeyUpsertResponse:
        """Store a value in the global cache, under any key. See ApertureClient.cache_set."""
        _arguments.text("key", key)
        return store(self._client, self._control_point, CacheScope.CACHE_GLOBAL, key, value, ttl, timeout)

    def delete_global_cache(self, key: str, *, timeout: Optional[Timeout] = None) -> KeyDeleteResponse:
        """Remove an entry of the global cache, under any key. See ApertureClient.cache_delete."""
        _arguments.text("key", key)
        return delete(self._client, self._control_point, CacheScope.CACHE_GLOBAL, key, timeout)

    def end(self) -> "EndResponse":
        """End the flow: give back the in-flight tokens that it holds, and send its telemetry. Never raises.

        Only a flow that holds in-flight tokens has to wait for the agent. In a running event loop it does not wait
        then: await the response to know how it went. The tokens are given back either way.
        """
        if self._call is not None:
            self._join()
        if self._failure is not None:
            return EndResponse(self, None, self._failure, False)
        queue = self._queue
        library = queue.library
        if self._ended:  # perhaps the first end still waits for the agent
            return EndResponse(self, None, library.failure(Code.ERROR_ALREADY_ENDED), False)
        self._ended = True
        memory = queue.memories.take()
        try:
            # The form that does not wait ends most flows at once, and lets Ctrl-C interrupt the wait for the others.
            code = library.flow_end_async(
                self._handle, memory.spare.tag, memory.end_result_at, memory.call_at, memory.error_at
            )
            if code == PENDING:
                loop = running_loop()
                response = EndResponse(self, queue.keep(memory, loop, cancellable=False), None, False)
                if loop is None:
                    response._join()
                return response
            if code == OK:
                return EndResponse(self, None, None, memory.end_result.flow_end_answered == 1)
            return EndResponse(self, None, library.failure(code, memory.error), False)
        except BaseException:
            queue.recover(memory, cancel=False)  # an interrupt: the end goes on
            raise
        finally:
            queue.memories.put(memory)

    def __enter__(self) -> "Flow":
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._leave(kind)

    async def __aenter__(self) -> "Flow":
        return await self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        response = self._leave(kind)
        if response is not None:
            await response

    def _leave(self, kind: Optional[type[BaseException]]) -> "Optional[EndResponse]":
        """End the flow, unless that was done, at the end of a with block."""
        if self._ended:
            return None
        self._join()
        if kind is not None and self._failure is None:
            with contextlib.suppress(errors.ForkedError):  # the exception of the block says more
                self.set_status(FlowStatus.Error)
        return self.end()

    def _wait(self) -> None:
        """Make sure that there is a decision."""
        if self._call is not None:
            self._join()
        if self._failure is not None:
            raise self._failure.with_traceback(None)

    def _settle(self) -> None:
        library = self._queue.library
        with self._queue.condition:
            call = self._call
            if call is None:
                return
            code = call.code
            if call.flow:
                decision = _abi.Decision(struct_size=ctypes.sizeof(_abi.Decision))
                code = library.flow_decision(call.flow, ctypes.byref(decision), None)
                self._details = DECISION.unpack_from(decision)
                self._handle, call.flow = call.flow, 0
            if code != OK:
                self._failure = library.failure(code, call)
            self._call = None

    def _result(self) -> "Flow":
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self


@dataclass(frozen=True)
class InflightRequestRef:
    """Names what a flow held of a concurrency limiter or scheduler."""

    policy_name: str = ""
    policy_hash: str = ""
    component_id: str = ""
    label: str = ""
    request_id: str = ""
    tokens: float = 0.0


@dataclass(frozen=True)
class TokenReturnStatus:
    """Says whether something that a flow held was given back."""

    inflight_request_ref: InflightRequestRef
    returned: bool = False
    error: str = ""


@dataclass(frozen=True)
class FlowEndResponse:
    """The agent's answer to the end of a flow that held in-flight tokens."""

    token_return_statuses: list[TokenReturnStatus] = field(default_factory=list)


class EndResponse(Outcome["EndResponse"]):
    """How a flow ended. It can be used at once, or awaited; awaited, it never blocks the event loop."""

    __slots__ = ("__weakref__", "_answered", "_error", "_flow", "_response")

    def __init__(self, flow: Flow, call: Optional[Call], error: Optional[errors.ApertureError], answered: bool) -> None:
        self._flow = flow
        self._call = call
        self._steps = None
        self._error = error
        self._answered = answered
        self._response: Optional[FlowEndResponse] = None

    def __repr__(self) -> str:
        return "<EndResponse pending>" if self._call is not None else f"<EndResponse error={self._error!r}>"

    def get_error(self) -> Optional[errors.ApertureError]:
        """What went wrong, or None: the flow was ended before, or its in-flight tokens could not be given back.

        A flow about which nothing was decided ends without an error.
        """
        self._join()
        return self._error

    def get_flow_end_response(self) -> Optional[FlowEndResponse]:
        """The agent's answer, or None when the flow held no in-flight tokens or there was no answer."""
        self._join()
        if self._answered and self._response is None:
            self._response = self._decode()
        return self._response

    @property
    def error(self) -> Optional[errors.ApertureError]:
        """The same as get_error()."""
        return self.get_error()

    @property
    def flow_end_response(self) -> Optional[FlowEndResponse]:
        """The same as get_flow_end_response()."""
        return self.get_flow_end_response()

    def _decode(self) -> FlowEndResponse:
        library = self._flow._queue.library
        code, text, error = read(library.flow_end_response, self._flow._handle)
        if code != OK:
            raise library.failure(code, error)
        statuses = json.loads(text).get("token_return_statuses", [])
        return FlowEndResponse([_token_return_status(status) for status in statuses])

    def _settle(self) -> None:
        flow = self._flow
        library = flow._queue.library
        with flow._queue.condition:
            call = self._call
            if call is None:
                return
            result = _abi.EndResult(struct_size=ctypes.sizeof(_abi.EndResult))
            error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
            code = library.flow_end_result(flow._handle, ctypes.byref(result), ctypes.byref(error))
            if code == PENDING or call.code == Code.ERROR_ALREADY_ENDED:
                self._error = library.failure(call.code)
            elif code != OK:
                self._error = library.failure(code, error)
            self._answered = result.flow_end_answered == 1
            self._call = None

    def _result(self) -> "EndResponse":
        return self


def _token_return_status(status: dict[str, Any]) -> TokenReturnStatus:
    reference = status.get("inflight_request_ref", {})
    return TokenReturnStatus(
        inflight_request_ref=InflightRequestRef(
            policy_name=reference.get("policy_name", ""),
            policy_hash=reference.get("policy_hash", ""),
            component_id=reference.get("component_id", ""),
            label=reference.get("label", ""),
            request_id=reference.get("request_id", ""),
            tokens=float(reference.get("tokens", 0)),
        ),
        returned=status.get("returned", False),
        error=status.get("error", ""),
    )
