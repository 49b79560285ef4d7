"""What holds for the whole process: aperture_sdk.configure."""

import ctypes
import os
from collections.abc import Iterator
from typing import Any

import pytest
from flows import ended
from processes import run_python

import aperture_sdk
from aperture_sdk import LogLevel, _abi, _library
from aperture_sdk.client import ApertureClient
from aperture_sdk.errors import InvalidArgumentError


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    """Leave the process as the library finds it."""
    yield
    aperture_sdk.configure()


class Recorder:
    """Stands for the library, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def configure(self, options: Any, _: Any) -> int:
        structure = options._obj
        self.told = {name: getattr(structure, name) for name, *_ in structure._fields_}
        return 0


def test_every_option_reaches_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    with monkeypatch.context() as patched:
        patched.setattr(_library, "load", lambda: recorder)
        aperture_sdk.configure(log_fd=7, log_level=LogLevel.DEBUG, max_procs=2, leave_signal_handlers=True)
        size = ctypes.sizeof(_abi.ProcessOptions)
        assert recorder.told == {
            "struct_size": size,
            "log_fd": 7,
            "log_level": -2,
            "max_procs": 2,
            "leave_signal_handlers": 1,
        }
        aperture_sdk.configure()
        assert recorder.told == dict.fromkeys(recorder.told, 0) | {"struct_size": size}


def test_it_may_be_called_before_the_first_client_and_later() -> None:
    code = """
import os
import aperture_sdk
from aperture_sdk.client import ApertureClient
reading, writing = os.pipe()
aperture_sdk.configure(log_fd=writing, log_level=aperture_sdk.LogLevel.ERROR, max_procs=1)
threads = len(os.listdir("/proc/self/task"))
os.close(writing)
with ApertureClient.new_client(address="local:") as client:
    assert client.start_flow("checkout").end().get_error() is None
    aperture_sdk.configure(max_procs=2, leave_signal_handlers=True)
    assert client.start_flow("checkout").end().get_error() is None
print(threads, os.read(reading, 1))  # the end of the file: nobody has the descriptor any more
"""
    done = run_python(code)
    assert (done.stdout, done.stderr, done.returncode) == ("1 b''\n", "", 0)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"log_fd": "2"}, TypeError, "log_fd: must be int, not str"),
        ({"log_fd": True}, TypeError, "log_fd: must be int, not bool"),
        ({"log_fd": 0}, ValueError, "log_fd: is 0; must be at least 1"),
        ({"log_fd": -1}, ValueError, "log_fd: is -1"),
        ({"log_fd": 2**31}, ValueError, "log_fd: is 2147483648"),
        ({"log_level": -1}, TypeError, "log_level: must be LogLevel, not int"),
        ({"log_level": "INFO"}, TypeError, "log_level: must be LogLevel, not str"),
        ({"max_procs": 1.0}, TypeError, "max_procs: must be int, not float"),
        ({"max_procs": 0}, ValueError, "max_procs: is 0; must be at least 1"),
        ({"max_procs": 1025}, ValueError, "max_procs: is 1025"),
        ({"leave_signal_handlers": 1}, TypeError, "leave_signal_handlers: must be bool, not int"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        aperture_sdk.configure(**options)


def test_a_descriptor_that_is_not_open_is_refused(open_client: ApertureClient) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(InvalidArgumentError, match=f"log_fd: {writing} is not an open file descriptor"):
        aperture_sdk.configure(log_fd=writing)
    assert ended(open_client.start_flow("checkout")).should_run()
