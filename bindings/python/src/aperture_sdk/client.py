"""The client: asks an Aperture agent, or the engine in this process, whether work may run.

    from aperture_sdk.client import ApertureClient, FlowParams

    client = ApertureClient.new_client(address="localhost:8080", insecure=True)
    flow = client.start_flow(control_point="checkout", params=FlowParams(explicit_labels={"tier": "gold"}))
    if flow.should_run():
        ...
    flow.end()
    client.close()

In a running event loop, start_flow and end can be awaited, and then never block it.

A client may be made before a fork and be used in the children too: each makes itself a connection of its own, or an
engine of its own, at the first use.
"""

import atexit
import ctypes
import enum
import json
import logging
import os
import sys
import time
import warnings
import weakref
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Callable, NamedTuple, Optional, TypeVar, Union

from . import _abi, _arguments, _decorate, _environment, _library, cache, errors
from ._abi import Code
from ._arguments import MAX_NS, Metadata, Path, Timeout, Value
from ._baggage import MODULE as BAGGAGE_MODULE
from ._baggage import current as current_baggage
from ._calls import (
    FORKED,
    INVALID_ARGUMENT,
    OK,
    PENDING,
    SHORT_NS,
    Call,
    CallQueue,
    Outcome,
    exiting,
    on_main_thread,
    running_loop,
)
from ._fork import ForkSafeLock
from ._library import read
from ._memory import encode_flow
from .flow import Flow

__all__ = ["ApertureClient", "ConnectionState", "FlowParams", "Labels", "Operation", "Stats"]

Labels = dict[str, str]

_Client = TypeVar("_Client", bound="ApertureClient")

_logger = logging.getLogger("aperture-py")
_logger.addHandler(logging.NullHandler())  # nothing is written where nobody asked for it

_modules = sys.modules
_DEFAULT_CHECK_TIMEOUT = timedelta(microseconds=_abi.DEFAULT_CHECK_TIMEOUT_NS // 1000)

# How long clients that nobody closed may hold up a garbage collection, and the exit of the process altogether.
_FORGOTTEN_NS = 100_000_000
_EXIT_NS = 200_000_000
_LAST = -100  # of the finalizers of multiprocessing


@dataclass
class FlowParams:
    """Describes a flow to start.

    check_timeout: how long the decision may take. timedelta(0) means no deadline of the caller's own, which is the
        longest there is, 24 hours. Longer ones are cut to that.
    explicit_labels: what the policies may look at. Lone surrogates are replaced by U+FFFD.
    ramp_mode: refuse the flow unless a load ramp admits it, also when nothing can be decided.
    result_cache_key: what Flow.result_cache() looks up, and what set_result_cache() stores the flow's result under.
    global_cache_keys: what Flow.global_cache() can look up.
    """

    check_timeout: timedelta = _DEFAULT_CHECK_TIMEOUT
    explicit_labels: Optional[Mapping[str, str]] = None
    ramp_mode: bool = False
    result_cache_key: Optional[str] = None
    global_cache_keys: Optional[Collection[str]] = None


class ConnectionState(enum.Enum):
    """How the connection to the agent is. An engine in this process is always ready."""

    IDLE = 0  # there is none; one will be made at once
    CONNECTING = 1  # it is being made
    READY = 2  # the agent can be asked
    FAILING = 3  # the last attempt to connect failed; another one follows
    CLOSED = 4  # the client is closed, or is being closed


class Stats(NamedTuple):
    """The counters of a client since it was made; aperture_stats in include/aperture.h says what each counts."""

    flows_accepted: int
    flows_rejected: int
    flows_unreachable: int
    unreachable_timeout: int
    unreachable_unavailable: int
    unreachable_agent_error: int
    unreachable_misconfigured: int
    unreachable_cancelled: int
    unreachable_closed: int
    unreachable_overloaded: int
    flows_ended: int
    flow_ends_failed: int
    spans_exported: int
    spans_dropped: int
    spans_queued: int
    flows_sanitised: int
    calls_pending: int
    flows_never_ended: int
    cache_calls: int
    cache_calls_failed: int


class Operation(Outcome[None]):
    """What wait_ready and close return: without a running event loop it is done; in one, await it."""

    __slots__ = ("__weakref__", "_failure", "_finish")

    def __init__(
        self,
        call: Optional[Call] = None,
        finish: Optional[Callable[[Call], Optional[errors.ApertureError]]] = None,
    ) -> None:
        self._call = call
        self._steps = None
        self._finish = finish
        self._failure: Optional[errors.ApertureError] = None

    def __repr__(self) -> str:
        return f"<Operation {'pending' if self._call is not None else 'done'}>"

    def __del__(
        self,
        finalizing: Callable[[], bool] = sys.is_finalizing,
        warn: Callable[..., None] = warnings.warn,
    ) -> None:
        call = self._call
        if call is not None and call.cancellable and not call.cancelled and not finalizing() and not call.of_parent():
            warn("what wait_ready returned in an event loop was never awaited", RuntimeWarning, source=self)
            call.cancel()

    def _settle(self) -> None:
        call = self._call
        if call is not None:
            if self._finish is not None:
                self._failure = self._finish(call)
            self._call = None

    def _result(self) -> None:
        if self._failure is not None:
            raise self._failure.with_traceback(None)


class ApertureClient:
    """A connection to an Aperture agent, or an engine in this process. new_client makes it.

    Make one and share it: its methods may be called in any thread, and in any number of event loops. Close it at the
    end, or use it in a with or async with block.

    A forked child may use it too, and opens it anew then with the same options: what new_client raises, the first use
    in the child raises. Its counters begin at zero there. A child closes what it has used; one that has used nothing
    has nothing to close.
    """

    def __init__(self, library: _library.Library, options: "_Options", address: str) -> None:
        self._library = library
        self._options = options
        self._address = address
        self._lock = ForkSafeLock()
        self._closing: Optional[Call] = None
        self._closed = True
        self.logger = _logger
        self._connect()
        _open.add(self)

    @classmethod
    def new_client(
        cls: type[_Client],
        address: str,
        api_key: Optional[str] = None,
        insecure: bool = False,
        grpc_timeout: Optional[timedelta] = None,
        credentials: None = None,
        compression: Union[str, int, None] = None,
        *,
        ca_file: Optional[Path] = None,
        ca_pem: Union[str, bytes, None] = None,
        server_name: Optional[str] = None,
        client_certificate_file: Optional[Path] = None,
        client_key_file: Optional[Path] = None,
        client_certificate_pem: Union[str, bytes, None] = None,
        client_key_pem: Union[str, bytes, None] = None,
        skip_verify: bool = False,
        metadata: Optional[Metadata] = None,
        user_agent: Optional[str] = None,
        keepalive_time: Optional[Timeout] = None,
        keepalive_timeout: Optional[Timeout] = None,
        telemetry: bool = True,
        telemetry_queue: Optional[int] = None,
        telemetry_batch: Optional[int] = None,
        telemetry_interval: Optional[Timeout] = None,
        max_pending_calls: Optional[int] = None,
        max_labels: Optional[int] = None,
        max_waiting: Optional[int] = None,
        cache_bytes: Optional[int] = None,
    ) -> _Client:
        """Make a client. It connects in the background; an agent that is down is no error here.

        address: host:port, dns:///name:port or unix:///path of an agent; local: accepts everything in this process,
            local:policies.yaml decides in this process by that file. Several paths have commas between them
            (local:limits.yaml,quota.yaml), and a directory stands for its files *.yaml and *.yml.
        api_key: sent as x-api-key with every call.
        insecure: no TLS.
        grpc_timeout: how long giving back the in-flight tokens of a flow may take, by default 1 s.
        credentials: must be None: see ca_file and what follows it.
        compression: how messages to the agent are compressed: "gzip", "none", or that member of grpc.Compression.
        ca_file, ca_pem: PEM file, or PEM text, with the authorities to trust instead of the system's.
        server_name: name that the agent's certificate must have, instead of the host of the address.
        client_certificate_file, client_key_file: PEM files of the certificate that the client shows, and of its key.
        client_certificate_pem, client_key_pem: the same as PEM text.
        skip_verify: trust every certificate. This protects from nobody who can take the agent's place; it is for tests.
        metadata: entries of gRPC metadata that go with every call, at most 64.
        user_agent: put in front of the library's own.
        keepalive_time: how long a connection on which a flow waits may be silent until it is pinged; by default it is
            not. At least 5 minutes: an agent ends connections that are pinged more often.
        keepalive_timeout: how long a ping may be unanswered until the connection is given up, by default 20 s.
        telemetry: whether to send a span for each flow that ends.
        telemetry_queue: how many spans may wait, by default 16,384; more are dropped and counted.
        telemetry_batch: how many spans are sent together at most, by default 512.
        telemetry_interval: how long a span waits at most, by default 1 s.
        max_pending_calls: how many flows may be undecided at once in event loops; one over it is Unreachable at once.
        max_labels: how many label values each component of an engine in this process keeps state for, by default
            1,000,000; one more takes the place of the one that was not used for longest. With an agent this and the two
            that follow have no effect.
        max_waiting: how many flows may wait in each scheduler of an engine in this process, by default 100,000; one
            more is rejected.
        cache_bytes: how much memory the caches of an engine in this process take together at most, by default 64 MiB,
            1 MiB at least; when they are full, the entry that was not used for longest goes.

        Times are timedeltas or, but for grpc_timeout, numbers of seconds. Files are read once, here.

        Raises ValueError (InvalidArgumentError, PolicyError) or TypeError for an argument that is wrong, and
        ImportError (LibraryError) when the shared library cannot be used.
        """
        if credentials is not None:
            raise TypeError(
                f"credentials: {type(credentials).__name__} objects cannot be used, because the connection is not "
                "made by the grpc package; use ca_file or ca_pem, client_certificate_file and client_key_file, "
                "skip_verify=True, or insecure=True"
            )
        texts = {
            "address": _arguments.text("address", address),
            "api_key": _arguments.text("api_key", "" if api_key is None else api_key),
            "ca_file": _arguments.path("ca_file", ca_file),
            "server_name": _arguments.text("server_name", "" if server_name is None else server_name),
            "user_agent": _arguments.text("user_agent", "" if user_agent is None else user_agent),
            "ca_pem": _arguments.pem("ca_pem", ca_pem),
            "client_certificate_file": _arguments.path("client_certificate_file", client_certificate_file),
            "client_key_file": _arguments.path("client_key_file", client_key_file),
            "client_certificate_pem": _arguments.pem("client_certificate_pem", client_certificate_pem),
            "client_key_pem": _arguments.pem("client_key_pem", client_key_pem),
        }
        kept = _Options(texts, _arguments.metadata("metadata", metadata))
        options = kept.structure
        options.compression = _arguments.compression("compression", compression)
        options.skip_verify = _arguments.flag("skip_verify", skip_verify)
        options.keepalive_time_ns = _arguments.positive_timeout("keepalive_time", keepalive_time)
        options.keepalive_timeout_ns = _arguments.positive_timeout("keepalive_timeout", keepalive_timeout)
        options.telemetry_interval_ns = _arguments.positive_timeout("telemetry_interval", telemetry_interval)
        options.telemetry_queue = _arguments.count("telemetry_queue", telemetry_queue)
        options.telemetry_batch = _arguments.count("telemetry_batch", telemetry_batch)
        options.max_pending_calls = _arguments.count("max_pending_calls", max_pending_calls)
        options.max_labels = _arguments.count("max_labels", max_labels)
        options.max_waiting = _arguments.count("max_waiting", max_waiting)
        options.cache_bytes = _arguments.count("cache_bytes", cache_bytes)
        options.insecure = _arguments.flag("insecure", insecure)
        options.telemetry_off = 1 - _arguments.flag("telemetry", telemetry)
        if grpc_timeout is not None:
            # 0 is the library's word for its default; here it is as wrong as a negative timeout.
            options.flow_end_timeout_ns = _arguments.nanoseconds("grpc_timeout", grpc_timeout) or -1
        return cls(_library.load(), kept, address)

    @classmethod
    def from_environment(cls: type[_Client], **options: Any) -> _Client:
        """Make a client with options from the environment. Those that are given go before it; see new_client.

        APERTURE_AGENT_ADDRESS: the address.
        APERTURE_API_KEY: the API key.
        APERTURE_AGENT_INSECURE, APERTURE_AGENT_SKIP_VERIFY: insecure and skip_verify; true, false, 1 or 0.

        A variable that is unset or empty says nothing. Raises ValueError that names the variable when one is wrong.
        """
        options, told = _environment.add_options(options)
        try:
            return cls.new_client(**options)
        except (errors.InvalidArgumentError, errors.PolicyError) as error:
            raise type(error)(f"{error}{told}", error.code) from None

    def _connect(self) -> None:
        """Make the client of the library, in this process."""
        handle = ctypes.c_uint64()
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        try:
            code = self._library.new_client(
                ctypes.byref(self._options.structure), ctypes.byref(handle), ctypes.byref(error)
            )
            if code != OK:
                raise self._library.failure(code, error)
            self._queue = CallQueue(self._library, handle.value)
            self._closed = False
        except BaseException:
            if handle.value:  # interrupted
                self._library.client_close(handle.value, _FORGOTTEN_NS, None)
            raise
        _finish_worker()

    def _reconnect(self, forked: CallQueue) -> None:
        """Make the client anew in a child, unless another thread did since the library refused that of the parent."""
        with self._lock.held():
            if self._closed or self._closing is not None:
                raise errors.ClosedError("the client is closed", Code.ERROR_CLOSED)
            if self._queue is forked:
                forked.disown()
                self._connect()

    def __repr__(self) -> str:
        return f"<ApertureClient {self._address}{' closed' if self._closed else ''}>"

    def start_flow(self, control_point: str, params: Optional[FlowParams] = None) -> Flow:
        """Ask whether the work at a control point may run.

        Without a running event loop this waits for the decision, at most for params.check_timeout. In a running event
        loop it does not wait, and the flow should be awaited. A flow that cannot be decided is no exception: it is
        Unreachable, and runs unless it is in ramp mode.

        The current baggage of OpenTelemetry describes the flow too, unless an explicit label has the same key.

        Raises TypeError or ValueError for an argument that is wrong, and ClosedError when the client is closed.
        """
        if params is None:
            params = _DEFAULT_PARAMS
        elif not isinstance(params, FlowParams):
            raise TypeError(f"params: must be FlowParams, not {type(params).__name__}")
        timeout = params.check_timeout
        if timeout is _DEFAULT_CHECK_TIMEOUT:
            timeout_ns = _abi.DEFAULT_CHECK_TIMEOUT_NS
        else:
            timeout_ns = _arguments.nanoseconds("check_timeout", timeout) or MAX_NS
        loop = running_loop()
        baggage: Sequence[str] = current_baggage() if BAGGAGE_MODULE in _modules else ()
        while True:
            text, lengths, key_count = encode_flow(control_point, params, baggage)
            queue = self._queue
            memory = queue.memories.take_for(text, lengths)
            try:
                memory.set_flow_params(text, lengths, key_count, timeout_ns, params.ramp_mode)
                if loop is None and (timeout_ns <= SHORT_NS or not on_main_thread()):
                    code = self._library.start_flow(
                        queue.client, memory.params_at, memory.flow_at, memory.decision_at, memory.error_at
                    )
                else:
                    code = self._library.start_flow_async(
                        queue.client,
                        memory.params_at,
                        memory.spare.tag,
                        memory.flow_at,
                        memory.decision_at,
                        memory.call_at,
                        memory.error_at,
                    )
                    if code == PENDING:
                        call = queue.keep(memory, loop, cancellable=True)
                        flow = Flow(self, queue, 0, memory.decision, call, control_point, params.result_cache_key)
                        if loop is None:
                            self._join(flow, call)
                        return flow
                if code != OK:
                    baggage = self._start_again(code, memory.error, queue, baggage)
                    continue
                handle = memory.flow.value
                flow = Flow(self, queue, handle, memory.decision, None, control_point, params.result_cache_key)
                memory.flow.value = 0
                return flow
            except BaseException:
                queue.recover(memory, cancel=True)
                raise
            finally:
                queue.memories.put(memory)

    def _start_again(self, code: int, error: _abi.Error, queue: CallQueue, baggage: Sequence[str]) -> Sequence[str]:
        """Return the baggage with which a flow can be started after all, or raise why it cannot."""
        if code == FORKED:
            self._reconnect(queue)
            return baggage
        if code == INVALID_ARGUMENT and baggage:
            return ()  # what others have sent must not be a reason to refuse the caller's arguments
        raise self._failure(code, error)

    def decorate(
        self,
        control_point: str,
        params: _decorate.Params = None,
        on_reject: Optional[Callable[..., Any]] = None,
    ) -> Callable[[_decorate.Function], _decorate.Function]:
        """Return a decorator that puts a flow around every call of a function or coroutine function.

        params: FlowParams, or a function that is called with the arguments of each call and returns FlowParams.
        on_reject: called instead of a function that must not run, with the flow if it takes an argument. What it
            returns is what the call returns; a coroutine function awaits it. Without it, such a call returns None.

        What is decorated stays what it is, a function or a coroutine function. The flow is ended whatever happens. An
        exception, the cancellation of a task included, sets the status Error and goes on to the caller.

        A function that is no coroutine function raises RuntimeError in a running event loop, which its flow would
        block: call it with asyncio.to_thread. Raises TypeError for a generator, whose work is done after its call.
        """
        return _decorate.decorator(self, control_point, params, on_reject)

    def wait_ready(self, timeout: Timeout) -> Operation:
        """Wait until the agent can be asked, so that a service does not begin with flows that fail open.

        timeout is a timedelta or a number of seconds; 0 looks once. Raises NotReadyError, a TimeoutError whose message
        says what the connection last met. In a running event loop, await what this returns: the error is raised there.
        """
        timeout_ns = _arguments.timeout("timeout", timeout)
        loop = running_loop()
        queue = self._queue
        memory = queue.memories.take()
        try:
            if loop is None and (timeout_ns <= SHORT_NS or not on_main_thread()):
                code = self._library.client_wait_ready(queue.client, timeout_ns, memory.error_at)
            else:
                code = self._library.client_wait_ready_async(
                    queue.client, timeout_ns, memory.spare.tag, memory.call_at, memory.error_at
                )
                if code == PENDING:
                    call = queue.keep(memory, loop, cancellable=True)
                    operation = Operation(call, self._finish_wait_ready)
                    if loop is None:
                        self._join(operation, call)
                        operation._result()
                    return operation
            if code == FORKED:
                self._reconnect(queue)
                return self.wait_ready(timeout)
            if code != OK:
                raise self._failure(code, memory.error)
            return Operation()
        except BaseException:
            queue.recover(memory, cancel=True)
            raise
        finally:
            queue.memories.put(memory)

    def _finish_wait_ready(self, call: Call) -> Optional[errors.ApertureError]:
        return None if call.code == OK else self._failure(call.code, call)

    def cache_lookup(
        self,
        control_point: str,
        result_cache_key: Optional[str] = None,
        global_cache_keys: Optional[Collection[str]] = None,
        timeout: Optional[Timeout] = None,
    ) -> cache.CacheLookupResponse:
        """Look up entries of the agent's caches without a flow.

        control_point: the one whose result cache is meant; for the global cache, the agent counts by it.
        result_cache_key, global_cache_keys: at least one key.
        timeout: a timedelta or a number of seconds, by default 1.

        Without a running event loop this waits; in one, await what it returns. Raises TypeError or ValueError for a
        wrong argument, and nothing else: what went wrong is in the response.
        """
        return cache.look_up(self, control_point, result_cache_key, global_cache_keys, timeout)

    def cache_set(
        self,
        control_point: str,
        value: Value,
        ttl: timedelta,
        *,
        result_cache_key: Optional[str] = None,
        global_cache_key: Optional[str] = None,
        timeout: Optional[Timeout] = None,
    ) -> cache.KeyUpsertResponse:
        """Store a value in one of the agent's caches, in place of the one that is there.

        value: str, which is stored as UTF-8, or bytes; with key and control point it may have 4,000,000 bytes.
        ttl: how long it lives, more than 0. Agents cut it to 7 days.
        result_cache_key, global_cache_key: one of the two.

        It waits, and raises, as cache_lookup does.
        """
        scope, key = cache.one_key(result_cache_key, global_cache_key)
        return cache.store(self, control_point, scope, key, value, ttl, timeout)

    def cache_delete(
        self,
        control_point: str,
        *,
        result_cache_key: Optional[str] = None,
        global_cache_key: Optional[str] = None,
        timeout: Optional[Timeout] = None,
    ) -> cache.KeyDeleteResponse:
        """Remove an entry from one of the agent's caches. It takes one key, and waits and raises, as cache_set does."""
        scope, key = cache.one_key(result_cache_key, global_cache_key)
        return cache.delete(self, control_point, scope, key, timeout)

    def state(self) -> ConnectionState:
        """Say how the connection to the agent is at this moment. It never waits; wait_ready does."""
        if self._closed or self._closing is not None:
            return ConnectionState.CLOSED
        queue = self._queue
        state = ctypes.c_int32()
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        code = self._library.client_state(queue.client, ctypes.byref(state), ctypes.byref(error))
        if code == FORKED:
            self._reconnect(queue)
            return self.state()
        if code == OK:
            return ConnectionState(state.value)
        failure = self._failure(code, error)
        if isinstance(failure, errors.ClosedError):  # meanwhile
            return ConnectionState.CLOSED
        raise failure

    def stats(self) -> Stats:
        """Return the counters of this client."""
        queue = self._queue
        stats = _abi.Stats(struct_size=ctypes.sizeof(_abi.Stats))
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        code = self._library.client_stats(queue.client, ctypes.byref(stats), ctypes.byref(error))
        if code == FORKED:
            self._reconnect(queue)
            return self.stats()
        if code != OK:
            raise self._failure(code, error)
        return Stats(*[getattr(stats, name) for name in Stats._fields])

    def reload(self) -> None:
        """Read the policy files of a client with a local: address again, while flows go on.

        Policies that are the same keep what they know. When something is wrong with the files nothing changes, and
        PolicyError says what and where. A client of an agent raises ValueError.
        """
        queue = self._queue
        error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        code = self._library.client_reload(queue.client, ctypes.byref(error))
        if code == FORKED:
            self._reconnect(queue)  # which reads them
        elif code != OK:
            raise self._failure(code, error)

    def snapshot(self) -> dict[str, Any]:
        """Return what the local engine has counted: for each component of the policies, and for the caches.

        docs/local-engine.md lists the fields. A client of an agent raises ValueError.
        """
        queue = self._queue
        code, text, error = read(self._library.client_snapshot, queue.client)
        if code == FORKED:
            self._reconnect(queue)
            return self.snapshot()
        if code != OK:
            raise self._failure(code, error)
        counted: dict[str, Any] = json.loads(text)
        return counted

    def close(self, timeout: Optional[Timeout] = None) -> Operation:
        """Close the client: waiting calls end as unreachable, telemetry is sent, the connection is closed.

        timeout is a timedelta or a number of seconds, by default 5. Telemetry that could not be sent by then is lost,
        which is logged. Without a running event loop this waits; in one, await what this returns. Its flows can still
        be read and ended. A second close waits for the first.
        """
        timeout_ns = 0 if timeout is None else _arguments.timeout("timeout", timeout) or 1
        loop = running_loop()
        with self._lock.held():
            call = self._closing
            if call is None:
                if self._closed:
                    return Operation()
                call = self._begin_close(timeout_ns)
                if call is None:
                    return Operation()
        if loop is None:
            self._queue.join_all(but=call)
            call.join()
            self._report_close(call)
            return Operation()
        self._queue.watch(call, loop)
        return Operation(call, self._report_close)

    def _begin_close(self, timeout_ns: int) -> Optional[Call]:
        """Return the call that closes the client, or None in a child that has not used it."""
        queue = self._queue
        memory = queue.memories.take()
        try:
            code = self._library.client_close_async(
                queue.client, timeout_ns, memory.spare.tag, memory.call_at, memory.error_at
            )
            if code == FORKED:
                queue.disown()
                self._closed = True
                return None
            if code != PENDING:
                raise self._failure(code, memory.error)
            _unfinished.add(self)
            call = queue.keep(memory, None, cancellable=False)
            call.after = self._finish_close
            self._closing = call
            return call
        finally:
            queue.memories.put(memory)

    def _finish_close(self, code: int) -> None:
        if not self._closed:
            self._closed = True
            self._queue.settle_all(Code.ERROR_CLOSED)
            self._queue.shut()
            self._closing = None
            _unfinished.discard(self)

    def _report_close(self, call: Call) -> None:
        if call.code not in (OK, FORKED):
            _logger.warning("closing the client of %s: %s", self._address, self._library.failure(call.code, call))

    def __enter__(self) -> "ApertureClient":
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    async def __aenter__(self) -> "ApertureClient":
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        await self.close()

    def __del__(
        self,
        finalizing: Callable[[], bool] = sys.is_finalizing,
        warn: Callable[..., None] = warnings.warn,
    ) -> None:
        if finalizing() or self._closed or self._closing is not None or self._queue.of_parent():
            return
        warn(f"unclosed {self!r}", ResourceWarning, source=self)
        self._close_now(_FORGOTTEN_NS)

    def _close_now(self, timeout_ns: int) -> None:
        """Close a client that nobody closed."""
        self._closed = True
        self._library.client_close(self._queue.client, timeout_ns, None)
        self._queue.shut()

    def _join(self, outcome: Outcome[Any], call: Call) -> None:
        """Wait in this thread. An exception in between, such as KeyboardInterrupt, cancels the call."""
        try:
            outcome._join()
        except BaseException:
            if not call.done:
                call.cancel()
                call.claim()
            raise

    def _failure(self, code: int, told: _library.Told) -> errors.ApertureError:
        is_closed = self._closed or self._closing is not None
        if code == Code.ERROR_CLOSED or (code == Code.ERROR_INVALID_HANDLE and is_closed):
            if exiting.is_set() and not on_main_thread():
                # A daemon thread, which Python ends without a word a moment later. So does this.
                raise SystemExit
            return errors.ClosedError("the client is closed", Code.ERROR_CLOSED)
        return self._library.failure(code, told)


_DEFAULT_PARAMS = FlowParams()

_open: "weakref.WeakSet[ApertureClient]" = weakref.WeakSet()
_unfinished: set[ApertureClient] = set()  # being closed, and perhaps awaited by nobody


def _at_exit() -> None:
    """Send what telemetry is left, in a bounded time."""
    exiting.set()
    for client in list(_unfinished):
        closing = client._closing
        if closing is not None:
            client._queue.join_all(but=closing)
            closing.join()
    deadline = time.monotonic_ns() + _EXIT_NS
    for client in list(_open):
        if not client._closed and client._closing is None and not client._queue.of_parent():
            client._close_now(max(1, deadline - time.monotonic_ns()))


atexit.register(_at_exit)

_first_process = os.getpid()
_finished_by_multiprocessing: set[int] = set()  # processes


def _finish_worker() -> None:
    """Let a worker of multiprocessing send what telemetry is left: it ends without atexit."""
    utilities = sys.modules.get("multiprocessing.util")
    process = os.getpid()
    if utilities is None or process in _finished_by_multiprocessing:
        return
    if process != _first_process or sys.modules["multiprocessing.process"].parent_process() is not None:
        utilities.Finalize(None, _at_exit, exitpriority=_LAST)
        _finished_by_multiprocessing.add(process)


class _Options:
    """What new_client was given, for the library. It is kept for children, and shows nothing: there may be a key."""

    __slots__ = ("_buffers", "structure")

    def __init__(self, texts: dict[str, bytes], metadata: list[tuple[bytes, bytes]]) -> None:
        self.structure = _abi.ClientOptions(struct_size=ctypes.sizeof(_abi.ClientOptions))
        self._buffers: list[Any] = []  # they live as long as the structure that points at them
        for name, text in texts.items():
            setattr(self.structure, name, self._keep(text))
        entries = (_abi.Label * len(metadata))(*[_abi.Label(self._keep(key), self._keep(one)) for key, one in metadata])
        self._buffers.append(entries)
        self.structure.metadata = ctypes.addressof(entries)
        self.structure.metadata_count = len(metadata)

    def _keep(self, text: bytes) -> _abi.Text:
        buffer = ctypes.create_string_buffer(text, max(len(text), 1))
        self._buffers.append(buffer)
        return _abi.Text(ctypes.addressof(buffer), len(text))
