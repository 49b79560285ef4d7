"""Forks for the tests."""

import os
import signal
import sys
import time
import traceback
from typing import Any, Callable, Optional

from processes import DEADLINE


def fork(work: Callable[[], object], how: Optional[Callable[[], int]] = None) -> int:
    """Fork a child that does some work. It ends with status 0 unless the work raises, and is killed when it hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = (how or os.fork)()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(DEADLINE)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def join(child: int) -> None:
    """Wait for a child, which must not have failed."""
    deadline = time.monotonic() + 2 * DEADLINE
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:  # it blocks even its alarm
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the child hangs")
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGALRM:
        raise AssertionError("the child hangs")
    assert code == 0, "the child failed; what it printed says why"


def in_child(work: Callable[[], object], **options: Any) -> None:
    """Do some work in a child."""
    join(fork(work, **options))
