"""The programs that the tests run against. `make build` and `make test` build them; a missing one fails the test."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"
DEADLINE = 30  # seconds; only a hang takes that long

# Python with every warning and every check, except what -X dev adds: asyncio complains there of a slow machine.
PYTHON = (sys.executable, "-W", "default", "-X", "faulthandler")


class Server:
    """A program that prints its address when it is ready, for as long as a with block runs."""

    def __init__(self, program: str, *arguments: object) -> None:
        self._ready = f"{program}: listening on "
        self._process = subprocess.Popen(
            [str(BUILD / program), *map(str, arguments)],
            stdin=subprocess.PIPE,  # so that the fake agent ends with this process
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self._wait()
        self.output = ""

    def _wait(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(self._ready):
                return line[len(self._ready) :].strip()
        _, errors = self._process.communicate(timeout=DEADLINE)
        raise AssertionError(f"{self._process.args!r} did not start: {errors}")

    def stop(self) -> None:
        """Stop the program and read what else it printed."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            self.output, errors = self._process.communicate(timeout=DEADLINE)
            assert self._process.returncode == 0, errors

    def kill(self) -> None:
        """End the program at once, with all its connections."""
        self._process.kill()
        self._process.communicate(timeout=DEADLINE)

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.stop()


class FakeAgent(Server):
    """An agent that answers as its flags say, and tells at its end what it was asked."""

    def __init__(self, *flags: object) -> None:
        super().__init__("fakeagent", *flags)

    def __enter__(self) -> "FakeAgent":
        return self

    def current_report(self) -> dict[str, Any]:
        """Return what an agent that was started with -control was asked so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write('{"report": true}\n')
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        report: dict[str, Any] = answer["report"]
        return report

    def report(self) -> dict[str, Any]:
        """Stop the agent and return what it was asked."""
        self.stop()
        summary: dict[str, Any] = json.loads(self.output)
        return summary


def run_python(
    code: str, *arguments: str, env: Optional[dict[str, str]] = None, timeout: float = DEADLINE
) -> "subprocess.CompletedProcess[str]":
    """Run Python code in a process of its own, with the package on its path."""
    return subprocess.run(
        [*PYTHON, "-c", code, *arguments],
        env=python_environment(env),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start Python code in a process of its own, with the package on its path."""
    return subprocess.Popen(
        [*PYTHON, "-c", code, *arguments],
        env=python_environment(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def python_environment(more: Optional[dict[str, str]]) -> dict[str, str]:
    """Return an environment with nothing of this one but what a program needs."""
    package = str(ROOT / "bindings" / "python" / "src")
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": package, "PYTHONMALLOC": "debug", **(more or {})}
