"""A lock for a process that may be forked while another of its threads holds it."""

import contextlib
import os
import threading
from collections.abc import Iterator


class ForkSafeLock:
    """A lock of one process: a forked child has another one, which no thread of its parent can have taken along.

    It asks for the process each time, and so needs no hook: a C program that forks around Python calls none.
    """

    def __init__(self) -> None:
        self._of_process: dict[int, threading.Lock] = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of this process for as long as a with block runs."""
        with self._of_process.setdefault(os.getpid(), threading.Lock()):
            yield
