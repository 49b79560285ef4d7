"""Flows around functions: what ApertureClient.decorate returns."""

import functools
import inspect
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from . import _arguments
from ._calls import running_loop

if TYPE_CHECKING:
    from .client import ApertureClient, FlowParams
    from .flow import Flow

Function = TypeVar("Function", bound=Callable[..., Any])

# Parameters of every flow, or a function that returns those of one, given the arguments of its call.
Params = Union["FlowParams", Callable[..., "FlowParams"], None]


def decorator(
    client: "ApertureClient", control_point: str, params: Params, on_reject: Optional[Callable[..., Any]]
) -> Callable[[Function], Function]:
    """Return what puts flows around a function. What is wrong is told here, where the program is loaded."""
    _arguments.text("control_point", control_point)
    reject = _rejection(on_reject)
    params_of = _params_of(params)

    def start(*args: Any, **kwargs: Any) -> "Flow":
        return client.start_flow(control_point, params_of(*args, **kwargs))

    def decorate(function: Function) -> Function:
        _refuse(function)
        if _is_coroutine_function(function):
            return _around_coroutine_function(start, reject, function)
        if _is_coroutine_function(on_reject):
            raise TypeError(f"on_reject: is a coroutine function, which {_name(function)} cannot await")
        return _around_function(start, reject, function)

    return decorate


def _around_function(start: Callable[..., "Flow"], reject: Callable[["Flow"], Any], function: Function) -> Function:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if running_loop() is not None:
            raise RuntimeError(
                f"{_name(function)} is no coroutine function, so that its flow would block the running event loop; "
                f"call it with asyncio.to_thread, or decorate a coroutine function"
            )
        with start(*args, **kwargs) as flow:
            if flow.should_run():
                return function(*args, **kwargs)
        return reject(flow)

    return wrapper  # type: ignore[return-value]


def _around_coroutine_function(
    start: Callable[..., "Flow"], reject: Callable[["Flow"], Any], function: Function
) -> Function:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with start(*args, **kwargs) as flow:
            if flow.should_run():
                return await function(*args, **kwargs)
        rejection = reject(flow)
        return await rejection if inspect.isawaitable(rejection) else rejection

    return wrapper  # type: ignore[return-value]


def _params_of(params: Params) -> Callable[..., Optional["FlowParams"]]:
    """Return a function of the arguments of a call. What it returns is checked when the flow is started."""
    if _is_coroutine_function(params):
        raise TypeError("params: must be FlowParams, or a function that returns them, not a coroutine function")
    if callable(params):
        return params
    from .client import FlowParams  # noqa: PLC0415  # which imports this module

    if params is not None and not isinstance(params, FlowParams):
        raise TypeError(f"params: must be FlowParams, or a function that returns them, not {type(params).__name__}")
    return lambda *_args, **_kwargs: params


def _rejection(on_reject: Optional[Callable[..., Any]]) -> Callable[["Flow"], Any]:
    """Return what to do with a flow that must not run."""
    if on_reject is None:
        return lambda _flow: None
    if not callable(on_reject):
        raise TypeError(f"on_reject: must be a function, not {type(on_reject).__name__}")
    try:
        signature = inspect.signature(on_reject)
    except ValueError:  # of some functions in C
        return lambda _flow: on_reject()
    for arguments in ((), (None,)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return on_reject if arguments else lambda _flow: on_reject()
    raise TypeError("on_reject: must be a function of no argument, or of the flow")


def _refuse(function: object) -> None:
    """Raise the TypeError for what cannot have a flow around it."""
    if isinstance(function, (staticmethod, classmethod)):
        raise TypeError(f"decorate the function itself, and write @{type(function).__name__} above")
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"decorate: must be given a function, not {_name(function)}")
    called = getattr(function, "__call__", None)  # noqa: B004
    for kind in (function, called):
        if inspect.isgeneratorfunction(kind) or inspect.isasyncgenfunction(kind):
            raise TypeError(
                f"{_name(function)} is a generator, whose work is done after its call; use a flow in a with block in it"
            )


def _is_coroutine_function(function: object) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def _name(function: object) -> str:
    return getattr(function, "__qualname__", type(function).__name__)
