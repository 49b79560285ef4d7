"""What holds for the whole process: the log of the library, its threads, and its way with signal handlers."""

import ctypes
import enum
from typing import Optional

from . import _abi, _library
from ._abi import Code
from ._arguments import count, flag

__all__ = ["LogLevel", "configure"]

_LIMIT = 2**31  # of the library's numbers


class LogLevel(enum.Enum):
    """How serious a line of the log is. A level includes all that is more serious."""

    DEBUG = -2  # what helps to find a defect
    INFO = -1  # what happens in ordinary operation
    WARNING = 0  # what an operator should know: decisions that could not be had, spans that were lost
    ERROR = 1  # what an operator must repair, and defects of the library


def configure(
    *,
    log_fd: Optional[int] = None,
    log_level: LogLevel = LogLevel.WARNING,
    max_procs: Optional[int] = None,
    leave_signal_handlers: bool = False,
) -> None:
    """Set what holds for the whole process, before the first client or at any time later. Every call sets everything.

    log_fd: a file descriptor that the library writes its log to, line by line; it is duplicated, so that the caller may
        close it. None: no log. What this package itself logs goes to the logger aperture-py.
    log_level: the least serious level that is written.
    max_procs: how many threads may run the library's code at the same time, up to 1024; None: as many as there are CPUs
        for the process. A server with many worker processes sets this to 1 or 2.
    leave_signal_handlers: do not add SA_ONSTACK to signal handlers that other C code has installed. Without that flag a
        signal that meets a thread inside the library corrupts memory; Python's own handlers have it.

    A forked child keeps the settings. Raises TypeError or ValueError (InvalidArgumentError) for an argument that is
    wrong, and nothing is changed then.
    """
    options = _abi.ProcessOptions(struct_size=ctypes.sizeof(_abi.ProcessOptions))
    if not isinstance(log_level, LogLevel):
        raise TypeError(f"log_level: must be LogLevel, not {type(log_level).__name__}")
    options.log_fd = count("log_fd", log_fd, _LIMIT)
    options.max_procs = count("max_procs", max_procs, _LIMIT)
    options.log_level = log_level.value
    options.leave_signal_handlers = flag("leave_signal_handlers", leave_signal_handlers)
    library = _library.load()
    error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
    code = library.configure(ctypes.byref(options), ctypes.byref(error))
    if code != Code.OK:
        raise library.failure(code, error)
