"""The agent's caches: what look-ups found, and how sets and deletes went.

There are two: the result cache, which has results of flows, for each control point its own, and the global cache, which
all control points share. A value is bytes, and lives for the time that it was stored with, at most 7 days.

What goes wrong on the way to the agent is never raised: it is the error of a response, and a look-up is a miss then.
Only wrong arguments are raised. In a running event loop, await what sets, deletes and ApertureClient.cache_lookup
return.
"""

import ctypes
import enum
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from . import _abi, _arguments, errors
from ._abi import CacheScope, Code
from ._arguments import Timeout, Value, address, text_at
from ._calls import FORKED, OK, PENDING, SHORT_NS, Call, Outcome, on_main_thread, running_loop
from ._library import Told, read

if TYPE_CHECKING:
    from .client import ApertureClient

__all__ = ["CacheLookupResponse", "KeyDeleteResponse", "KeyLookupResponse", "KeyUpsertResponse", "LookupStatus"]

_R = TypeVar("_R", bound="_Response[Any]")


class LookupStatus(enum.Enum):
    """Whether the cache had an entry."""

    MISS = 0
    HIT = 1


class KeyLookupResponse:
    """What a cache had under a key."""

    __slots__ = ("_error", "_status", "_value")

    def __init__(
        self,
        value: Optional[bytes] = None,
        lookup_status: LookupStatus = LookupStatus.MISS,
        error: Optional[errors.ApertureError] = None,
    ) -> None:
        self._value = value
        self._status = lookup_status
        self._error = error

    def __repr__(self) -> str:
        return f"<KeyLookupResponse {self._status.name}{'' if self._error is None else f' error={self._error!r}'}>"

    def get_value(self) -> Optional[bytes]:
        """The value of a hit, which may be empty, or None."""
        return self._value

    def get_lookup_status(self) -> LookupStatus:
        """Whether the cache had an entry. A look-up that went wrong is a miss with an error."""
        return self._status

    def get_error(self) -> Optional[errors.ApertureError]:
        """Why nothing is known about the entry, or None.

        It is a NoAnswerError when the key was not given or the flow was rejected before the agent looked, a CacheError
        when the agent could not read the entry, and an UnreachableError when there is no answer at all.
        """
        return self._error


class _Response(Outcome[_R]):
    """How a call to the cache went. It can be used at once, or awaited; awaited, it never blocks the event loop."""

    __slots__ = ("__weakref__", "_client", "_error", "_queue")

    def __init__(self, client: "ApertureClient", error: Optional[errors.ApertureError] = None) -> None:
        self._call: Optional[Call] = None
        self._steps = None
        self._client = client
        self._queue = client._queue
        self._error = error

    def __repr__(self) -> str:
        state = "pending" if self._call is not None else f"error={self._error!r}"
        return f"<{type(self).__name__} {state}>"

    def get_error(self) -> Optional[errors.ApertureError]:
        """What went wrong, or None."""
        self._join()
        return self._error

    def _settle(self) -> None:
        with self._queue.condition:
            call = self._call
            if call is None:
                return
            self._answered(call.code, call, call.answer)
            call.answer = 0
            self._call = None

    def _answered(self, code: int, told: Told, answer: int) -> None:
        """Take over how the call ended. An answer is the caller's to close."""
        if code != OK:
            self._error = self._client._failure(code, told)

    def _result(self: _R) -> _R:
        return self


class KeyUpsertResponse(_Response["KeyUpsertResponse"]):
    """How storing a value went."""

    __slots__ = ()


class KeyDeleteResponse(_Response["KeyDeleteResponse"]):
    """How removing an entry went. One that was not there is no error."""

    __slots__ = ()


class CacheLookupResponse(_Response["CacheLookupResponse"]):
    """What a look-up without a flow found."""

    __slots__ = ("_found", "_keys")

    def __init__(self, client: "ApertureClient", keys: list[str]) -> None:
        super().__init__(client)
        self._keys = keys
        self._found: dict[tuple[CacheScope, str], KeyLookupResponse] = {}

    def result_cache(self) -> KeyLookupResponse:
        """What the result cache had."""
        return self._get(CacheScope.CACHE_RESULT, "", "no result_cache_key was given")

    def global_cache(self, key: str) -> KeyLookupResponse:
        """What the global cache had under one of the keys."""
        _arguments.text("key", key)
        return self._get(CacheScope.CACHE_GLOBAL, key, "the key was not among the global_cache_keys")

    def _get(self, scope: CacheScope, key: str, absent: str) -> KeyLookupResponse:
        error = self.get_error()
        if error is None:
            found = self._found.get((scope, key))
            if found is not None:
                return found
            error = errors.NoAnswerError(absent, Code.ERROR_NO_ANSWER)
        return KeyLookupResponse(error=error)

    def _answered(self, code: int, told: Told, answer: int) -> None:
        super()._answered(code, told, answer)
        if not answer:
            return
        library = self._queue.library
        wanted = [(CacheScope.CACHE_GLOBAL, key) for key in self._keys[1:]]
        if self._keys[0]:
            wanted.append((CacheScope.CACHE_RESULT, ""))
        for scope, key in wanted:
            self._found[scope, key] = read_entry(self._client, library.cache_answer_value, answer, scope, key)
        library.cache_answer_close(answer, None)


def read_entry(
    client: "ApertureClient", function: Callable[..., int], handle: int, scope: CacheScope, key: str
) -> KeyLookupResponse:
    """Return what a flow or an answer has under a key."""
    encoded = _arguments.text("key", key)
    status = ctypes.c_int32()
    code, value, error = read(function, handle, scope, ctypes.byref(text_at(encoded)), ctypes.byref(status))
    if code != OK:
        return KeyLookupResponse(error=client._failure(code, error))
    if status.value == _abi.LookupStatus.LOOKUP_HIT:
        return KeyLookupResponse(value, LookupStatus.HIT)
    return KeyLookupResponse()


def look_up(
    client: "ApertureClient",
    control_point: str,
    result_key: Optional[str],
    global_keys: Optional[Collection[str]],
    timeout: Optional[Timeout],
) -> CacheLookupResponse:
    """Look up entries without a flow."""
    keys = _arguments.cache_keys(result_key, global_keys)
    encoded = [_arguments.text("key", key) for key in keys]
    point = _arguments.text("control_point", control_point)
    texts = (_abi.Text * len(keys))(*[text_at(key) for key in encoded])
    arguments = _abi.CacheKeys(
        struct_size=ctypes.sizeof(_abi.CacheKeys),
        control_point=text_at(point),
        result_key=texts[0],
        global_keys=ctypes.addressof(texts) + ctypes.sizeof(_abi.Text) if len(keys) > 1 else None,
        global_key_count=len(keys) - 1,
        timeout_ns=_arguments.positive_timeout("timeout", timeout),
    )
    library = client._library
    return _call(CacheLookupResponse(client, keys), library.cache_lookup, library.cache_lookup_async, arguments, True)


def store(
    client: "ApertureClient",
    control_point: str,
    scope: CacheScope,
    key: Optional[str],
    value: Value,
    ttl: timedelta,
    timeout: Optional[Timeout],
) -> KeyUpsertResponse:
    """Store a value. A key of None is that of a flow that has none."""
    stored = _arguments.stored("value", value)
    point = _arguments.text("control_point", control_point)
    arguments = _abi.CacheEntry(
        struct_size=ctypes.sizeof(_abi.CacheEntry),
        control_point=text_at(point),
        value=_abi.Bytes(address(stored), len(stored)),
        # 0 is what a time to live that is left out would be, which the library refuses as well.
        ttl_ns=_arguments.nanoseconds("ttl", ttl),
        timeout_ns=_arguments.positive_timeout("timeout", timeout),
        scope=scope,
    )
    if key is None:
        return KeyUpsertResponse(client, _no_key())
    encoded = _arguments.text("key", key)
    arguments.key = text_at(encoded)
    library = client._library
    return _call(KeyUpsertResponse(client), library.cache_set, library.cache_set_async, arguments)


def delete(
    client: "ApertureClient", control_point: str, scope: CacheScope, key: Optional[str], timeout: Optional[Timeout]
) -> KeyDeleteResponse:
    """Remove an entry. A key of None is that of a flow that has none."""
    point = _arguments.text("control_point", control_point)
    arguments = _abi.CacheKey(
        struct_size=ctypes.sizeof(_abi.CacheKey),
        control_point=text_at(point),
        timeout_ns=_arguments.positive_timeout("timeout", timeout),
        scope=scope,
    )
    if key is None:
        return KeyDeleteResponse(client, _no_key())
    encoded = _arguments.text("key", key)
    arguments.key = text_at(encoded)
    library = client._library
    return _call(KeyDeleteResponse(client), library.cache_delete, library.cache_delete_async, arguments)


def one_key(result_key: Optional[str], global_key: Optional[str]) -> tuple[CacheScope, str]:
    """Return which cache, and which key in it, a set or delete without a flow means."""
    if (result_key is None) == (global_key is None):
        raise TypeError("give either result_cache_key or global_cache_key")
    if global_key is not None:
        _arguments.text("global_cache_key", global_key)
        return CacheScope.CACHE_GLOBAL, global_key
    _arguments.text("result_cache_key", result_key or "")
    return CacheScope.CACHE_RESULT, result_key or ""


def _no_key() -> errors.NoAnswerError:
    return errors.NoAnswerError(
        "the flow has no result cache key: give its FlowParams a result_cache_key", Code.ERROR_NO_ANSWER
    )


def _call(
    response: _R, blocking: Callable[..., int], pending: Callable[..., int], arguments: Any, has_answer: bool = False
) -> _R:
    """Call the library, in the form that suits where we are. The memory that arguments point at is the caller's."""
    client = response._client
    at = ctypes.byref(arguments)
    timeout_ns = arguments.timeout_ns or _abi.DEFAULT_CACHE_TIMEOUT_NS
    loop = running_loop()
    while True:
        queue = client._queue
        response._queue = queue
        memory = queue.memories.take()
        answer = (memory.answer_at,) if has_answer else ()
        try:
            if loop is None and (timeout_ns <= SHORT_NS or not on_main_thread()):
                code = blocking(queue.client, at, *answer, memory.error_at)
            else:
                code = pending(queue.client, at, memory.spare.tag, *answer, memory.call_at, memory.error_at)
                if code == PENDING:
                    response._call = queue.keep(memory, loop, cancellable=True)
                    if loop is None:
                        client._join(response, response._call)
                    return response
            if code == FORKED:
                client._reconnect(queue)
                continue
            response._answered(code, memory.error, memory.answer.value)
            memory.answer.value = 0
            if isinstance(response._error, errors.InvalidArgumentError):
                raise response._error
            return response
        except errors.ClosedError as error:  # the client of a parent, in a child
            response._error = error
            return response
        except BaseException:
            queue.recover(memory, cancel=True)
            raise
        finally:
            queue.memories.put(memory)
