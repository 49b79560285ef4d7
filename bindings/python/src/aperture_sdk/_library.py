"""Finds libaperture, loads it once, and checks that it is the one that this package was made for.

It is loaded by the first client and not by an import, so that a process that forks before it makes a client has no Go
runtime to fork.
"""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional, Protocol

from . import _abi, errors
from ._abi import Code
from ._fork import ForkSafeLock

FILE_NAME = "libaperture.so"
VARIABLE = "APERTURE_LIBRARY"

_Function = Callable[..., int]

_BUFFER_BYTES = 4096  # which is enough for most answers


class Told(Protocol):
    """What says how a call went: the library's aperture_error, or an asynchronous call that is done."""

    code: int
    message: bytes


class Library:
    """The functions of the loaded library. They take numbers for handles and byref() for pointers."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            loaded = ctypes.CDLL(path)
        except OSError as error:
            raise errors.LibraryError(f"{path} cannot be loaded: {error}") from error
        _check_version(loaded, path)
        try:
            _abi.declare(loaded)
        except AttributeError as error:
            raise errors.LibraryError(f"{path} is damaged or was made of other sources: {error}") from error
        self.live_handles: _Function = loaded.aperture_live_handles
        self.abi_version: _Function = loaded.aperture_abi_version
        self.configure: _Function = loaded.aperture_configure
        self.new_client: _Function = loaded.aperture_new_client
        self.client_wait_ready: _Function = loaded.aperture_client_wait_ready
        self.client_wait_ready_async: _Function = loaded.aperture_client_wait_ready_async
        self.client_state: _Function = loaded.aperture_client_state
        self.client_stats: _Function = loaded.aperture_client_stats
        self.client_close: _Function = loaded.aperture_client_close
        self.client_close_async: _Function = loaded.aperture_client_close_async
        self.client_completion_fd: _Function = loaded.aperture_client_completion_fd
        self.client_poll: _Function = loaded.aperture_client_poll
        self.start_flow: _Function = loaded.aperture_start_flow
        self.start_flow_async: _Function = loaded.aperture_start_flow_async
        self.flow_decision: _Function = loaded.aperture_flow_decision
        self.flow_error: _Function = loaded.aperture_flow_error
        self.client_reload: _Function = loaded.aperture_client_reload
        self.client_snapshot: _Function = loaded.aperture_client_snapshot
        self.flow_check_response: _Function = loaded.aperture_flow_check_response
        self.flow_cache_value: _Function = loaded.aperture_flow_cache_value
        self.flow_set_attribute: _Function = loaded.aperture_flow_set_attribute
        self.flow_set_status: _Function = loaded.aperture_flow_set_status
        self.flow_end: _Function = loaded.aperture_flow_end
        self.flow_end_async: _Function = loaded.aperture_flow_end_async
        self.flow_end_result: _Function = loaded.aperture_flow_end_result
        self.flow_end_response: _Function = loaded.aperture_flow_end_response
        self.flow_close: _Function = loaded.aperture_flow_close
        self.cache_lookup: _Function = loaded.aperture_cache_lookup
        self.cache_lookup_async: _Function = loaded.aperture_cache_lookup_async
        self.cache_answer_value: _Function = loaded.aperture_cache_answer_value
        self.cache_answer_close: _Function = loaded.aperture_cache_answer_close
        self.cache_set: _Function = loaded.aperture_cache_set
        self.cache_set_async: _Function = loaded.aperture_cache_set_async
        self.cache_delete: _Function = loaded.aperture_cache_delete
        self.cache_delete_async: _Function = loaded.aperture_cache_delete_async
        self.call_wait: _Function = loaded.aperture_call_wait
        self.call_cancel: _Function = loaded.aperture_call_cancel
        self._version: Callable[[], bytes] = loaded.aperture_version
        self._error_description: Callable[[int], bytes] = loaded.aperture_error_description

    def version(self) -> str:
        """Return the version of the loaded library."""
        return self._version().decode()

    def failure(self, code: int, told: Optional[Told] = None) -> errors.ApertureError:
        """Return the exception for a call that returned code and described it."""
        message = told.message if told is not None and told.code == code else b""
        text = (message or self._error_description(code)).decode("utf-8", "replace")
        return errors.from_code(code, text)


def read(function: _Function, *arguments: object) -> tuple[int, bytes, _abi.Error]:
    """Call a function whose last parameters are a buffer, its capacity, the length of what it reads, and an error."""
    length = ctypes.c_size_t()
    error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
    capacity = _BUFFER_BYTES
    while True:
        buffer = ctypes.create_string_buffer(capacity)
        code = function(*arguments, buffer, capacity, ctypes.byref(length), ctypes.byref(error))
        if code != Code.ERROR_BUFFER_TOO_SMALL:
            return code, ctypes.string_at(buffer, length.value) if code == Code.OK else b"", error
        capacity = length.value


_lock = ForkSafeLock()
_loaded: list[Library] = []  # at most one


def load() -> Library:
    """Return the library, after loading it if nobody did. Raises LibraryError.

    A forked child uses what its parent loaded: the functions are the same, and know in which process they are.
    """
    with _lock.held():
        if not _loaded:
            _refuse_musl()
            _loaded.append(Library(_find()))
        return _loaded[0]


def _find() -> str:
    """Return the absolute path of the library. The system's search path is never used."""
    named = os.environ.get(VARIABLE)
    if named:
        path = os.path.abspath(named)
        if not os.path.isfile(path):
            raise errors.LibraryError(f"{VARIABLE} names {path}, which is not there")
        return path
    tried = []
    for place in _places():
        if place.is_file():
            return str(place)
        tried.append(str(place))
    raise errors.LibraryError(
        f"{FILE_NAME} was not found at {' or '.join(tried)}; "
        f"in a checkout, make build makes it; anywhere else, let {VARIABLE} name it"
    )


def _places() -> Iterator[Path]:
    package = Path(__file__).resolve().parent
    yield package / FILE_NAME  # packaged
    # In a checkout this is bindings/python/src/aperture_sdk.
    for checkout in list(package.parents)[3:4]:
        if (checkout / "include" / "aperture.h").is_file():
            yield checkout / "build" / FILE_NAME


def _refuse_musl(maps_file: str = "/proc/self/maps") -> None:
    """Raise LibraryError on a musl system, where loading a Go library ends the process or corrupts it."""
    try:
        with open(maps_file, encoding="utf-8", errors="replace") as maps:
            musl = any("/ld-musl-" in line for line in maps)
    except OSError:
        return
    if musl:
        raise errors.LibraryError(
            "libaperture needs glibc: this Python runs on musl (Alpine Linux), where a shared library made with Go "
            "cannot be loaded; use a Python image with glibc, such as one of Debian"
        )


def _check_version(library: ctypes.CDLL, path: str) -> None:
    try:
        ask = library.aperture_abi_version
    except AttributeError as error:
        raise errors.LibraryError(f"{path} is not libaperture: it has no aperture_abi_version") from error
    ask.restype, ask.argtypes = _abi.FUNCTIONS["aperture_abi_version"]
    version = ask()
    if version != _abi.ABI_VERSION:
        raise errors.LibraryError(
            f"{path} has ABI version {version}, but this package needs ABI version {_abi.ABI_VERSION}: "
            f"install an aperture_sdk and a {FILE_NAME} of the same release",
            Code.ERROR_INTERNAL,
        )
