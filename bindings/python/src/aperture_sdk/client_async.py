"""The client for programs that only use it in event loops, by the name that it has in the upstream package.

ApertureClient works in event loops just as well. ApertureClientAsync refuses to be used without one, where it would
have to wait in a thread, so that a program that is all coroutines never blocks by mistake.
"""

import inspect
from collections.abc import Collection
from datetime import timedelta
from typing import Any, Callable, Optional

from . import _decorate, cache
from ._arguments import Timeout, Value
from ._calls import running_loop
from .client import ApertureClient, FlowParams, Labels, Operation
from .flow_async import FlowAsync

__all__ = ["ApertureClientAsync", "FlowParams", "Labels"]


class ApertureClientAsync(ApertureClient):
    """An ApertureClient whose calls are awaited: without a running event loop they raise RuntimeError.

    new_client, from_environment, state, stats and close work everywhere; in an event loop, await what close returns.
    """

    def start_flow(self, control_point: str, params: Optional[FlowParams] = None) -> FlowAsync:
        """Ask whether the work at a control point may run: await the flow, or use it in an async with block."""
        _require_loop("start_flow")
        return super().start_flow(control_point, params)

    def wait_ready(self, timeout: Timeout) -> Operation:
        """Wait until the agent can be asked: await what this returns."""
        _require_loop("wait_ready")
        return super().wait_ready(timeout)

    def cache_lookup(
        self,
        control_point: str,
        result_cache_key: Optional[str] = None,
        global_cache_keys: Optional[Collection[str]] = None,
        timeout: Optional[Timeout] = None,
    ) -> cache.CacheLookupResponse:
        """Look up entries of the agent's caches without a flow: await what this returns."""
        _require_loop("cache_lookup")
        return super().cache_lookup(control_point, result_cache_key, global_cache_keys, timeout)

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
        """Store a value in one of the agent's caches: await what this returns."""
        _require_loop("cache_set")
        keys = {"result_cache_key": result_cache_key, "global_cache_key": global_cache_key}
        return super().cache_set(control_point, value, ttl, **keys, timeout=timeout)

    def cache_delete(
        self,
        control_point: str,
        *,
        result_cache_key: Optional[str] = None,
        global_cache_key: Optional[str] = None,
        timeout: Optional[Timeout] = None,
    ) -> cache.KeyDeleteResponse:
        """Remove an entry from one of the agent's caches: await what this returns."""
        _require_loop("cache_delete")
        keys = {"result_cache_key": result_cache_key, "global_cache_key": global_cache_key}
        return super().cache_delete(control_point, **keys, timeout=timeout)

    def decorate(
        self,
        control_point: str,
        params: _decorate.Params = None,
        on_reject: Optional[Callable[..., Any]] = None,
    ) -> Callable[[_decorate.Function], _decorate.Function]:
        """Return a decorator that puts a flow around every call of a coroutine function."""
        decorate = super().decorate(control_point, params, on_reject)

        def decorate_coroutine_function(function: _decorate.Function) -> _decorate.Function:
            decorated = decorate(function)
            if not inspect.iscoroutinefunction(decorated):
                raise TypeError("decorate: ApertureClientAsync needs a coroutine function; ApertureClient takes both")
            return decorated

        return decorate_coroutine_function


def _require_loop(name: str) -> None:
    if running_loop() is None:
        raise RuntimeError(f"{name}: ApertureClientAsync needs a running event loop; without one, use ApertureClient")
