"""The agents of a soak: one at a time, on one port, killed and started again. What each told its client is in a journal
that outlives it (tests/fakeagent/journal.go), so that the counts of a killed agent are as exact as those of another."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from proxy import reserve_port

RECORD_BYTES = 9
START_SECONDS = 60
END_SECONDS = 60


class SoakError(Exception):
    """Something other than the library does not work."""


class Agents:
    """Starts and ends agents, and adds up what they saw."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._holder = reserve_port()
        self.port: int = self._holder.getsockname()[1]
        self._process: Optional[subprocess.Popen[str]] = None
        self.started = 0
        self.killed = 0
        self.records: Counter[str] = Counter()  # by kind
        self.span_ids: set[int] = set()
        self.disagreements: list[str] = []  # an agent's own report is not what its journal says

    def start(self, flags: Sequence[str] = ()) -> None:
        self.started += 1
        command = [str(self._program), "-address", f"127.0.0.1:{self.port}", "-keep", "-1", "-obey-labels"]
        command += ["-journal", str(self._journal), *flags]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline() if self._process.stdout else ""
        if "listening on" not in line:
            raise SoakError(f"the agent did not start; it said {line!r}")

    def kill(self) -> None:
        """End the agent in the middle of whatever it does."""
        process = self._take()
        process.kill()
        process.communicate(timeout=END_SECONDS)
        self.killed += 1
        self._read_journal()

    def end(self) -> None:
        """End the agent as an operator would, and compare what it says with its journal."""
        process = self._take()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=END_SECONDS)
        report = json.loads(output)
        before = self.records.copy()
        self._read_journal()
        for name, kinds in (("check_count", "ARX"), ("flow_end_count", "E"), ("span_count", "S")):
            journal = sum(self.records[kind] - before[kind] for kind in kinds)
            if report[name] != journal:
                self.disagreements.append(f"agent {self.started}: {name} {report[name]}, in the journal {journal}")

    def pause(self, paused: bool) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def check_alive(self) -> None:
        """Complain when the agent ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise SoakError(f"the agent ended with {self._process.returncode}")

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._holder.close()

    @property
    def _journal(self) -> Path:
        return self._folder / f"journal-{self.started}"

    def _take(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise SoakError("there is no agent to end")
        process, self._process = self._process, None
        return process

    def _read_journal(self) -> None:
        records = self._journal.read_bytes()
        whole = len(records) // RECORD_BYTES * RECORD_BYTES  # a kill may have cut the last one short
        for start in range(0, whole, RECORD_BYTES):
            kind = chr(records[start])
            self.records[kind] += 1
            if kind == "S":
                self.span_ids.add(int.from_bytes(records[start + 1 : start + RECORD_BYTES], "little"))
        self._journal.unlink()
