"""Runs flows against an agent that suffers, and fails when anything is lost without being counted. See docs/soak.md.

    run.py [--minutes N] [--seed N]

The host (host.c) runs the flows and counts them. Between it and the agent is a proxy of this process. A schedule of
troubles, made from the seed, hits the agent and the proxy. At the end all counts must agree (identities.py).
"""

import argparse
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import identities
from agents import Agents, SoakError
from proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"

BEGIN_SECONDS = 60
HEAL_SECONDS = 300
CLOSE_SECONDS = 300
END_SECONDS = 60
ABRUPT_CLOSE_MS = 1000
CALM_CLOSE_MS = 60_000
SAMPLE_SECONDS = 0.5
FULL_MINUTES = 3.0  # a shorter soak has shorter troubles

Event = dict[str, Any]


class Host:
    """The process that runs the flows."""

    def __init__(self, program: Path, address: str, seed: int) -> None:
        self._process = subprocess.Popen(
            [str(program), address, str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._events: queue.Queue[Optional[Event]] = queue.Queue()
        self._reader = threading.Thread(target=self._read, name="host's output")
        self._reader.start()
        self.progress: Event = {}

    def _read(self) -> None:
        for line in self._process.stdout or ():
            event = json.loads(line)
            if event["event"] == "progress":
                self.progress = event
            else:
                self._events.put(event)
        self._events.put(None)

    def tell(self, command: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise SoakError(f"the host ended with {self.end()}")
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def expect(self, kind: str, seconds: float) -> Event:
        """Return the host's answer to the last command."""
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            raise SoakError(f"the host did not say {kind!r} within {seconds} s") from None
        if event is None:
            raise SoakError(f"the host ended with {self.end()}")
        if event["event"] != kind:
            raise SoakError(f"the host said {event['event']!r}, not {kind!r}")
        return event

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise SoakError(f"the host ended with {self.end()}")

    def sample(self) -> identities.Sample:
        process = Path("/proc") / str(self._process.pid)
        pages = int((process / "statm").read_text(encoding="ascii").split()[1])
        return identities.Sample(
            pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            len(list((process / "task").iterdir())),
            len(list((process / "fd").iterdir())),
        )

    def end(self) -> int:
        """End the process, if it has not ended, and return its exit code."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            code = self._process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if threading.current_thread() is not self._reader:
            self._reader.join()
        return code


class Troubles:
    """What can go wrong, one after the other, and how it is made good again."""

    def __init__(self, agents: Agents, proxy: Proxy, seed: int, scale: float) -> None:
        self.agents = agents
        self.proxy = proxy
        self.random = random.Random(seed)  # noqa: S311  # a schedule, not a secret
        self.scale = scale
        self.happened: Counter[str] = Counter()
        # Each begins a trouble and returns what ends it, and how long it lasts: at least and at most, in seconds.
        self._kinds: dict[str, tuple[Callable[[], Optional[Callable[[], None]]], float, float]] = {
            "agent killed and started again": (self._kill, 0, 3),
            "agent ended and started again": (self._end, 0, 3),
            "agent gone for long": (self._kill, 15, 30),
            "agent paused": (self._pause, 0.5, 6),
            "agent slow": (self._slow, 2, 8),
            "agent that takes no spans": (self._no_spans, 15, 35),
            "agent that takes spans slowly": (self._slow_spans, 5, 15),
            "connection cut": (self._cut, 0, 1),
            "connection cut in the middle of a call": (self._cut_halfway, 0, 1),
            "connection cut again and again": (self._cut_often, 2, 6),
            "connection stalled": (self._stall, 1, 10),
            "connections refused": (self._refuse, 1, 5),
            "connections dropped": (self._drop, 1, 5),
            "connection stalled, agent killed": (self._stall_and_kill, 1, 5),
        }
        self._bag: list[str] = []
        self._cutting: Optional[threading.Thread] = None
        self._cutting_over = threading.Event()

    def close(self) -> None:
        """End what needs the proxy."""
        self._cutting_over.set()
        if self._cutting is not None:
            self._cutting.join()
            self._cutting = None

    def begin(self) -> tuple[Optional[Callable[[], None]], float]:
        """Begin the next trouble. Return what ends it, None when it ends by itself, and how long it should last."""
        if not self._bag:
            self._bag = list(self._kinds)
            self.random.shuffle(self._bag)
        name = self._bag.pop()
        self.happened[name] += 1
        start, shortest, longest = self._kinds[name]
        return start(), self.random.uniform(shortest, longest) * self.scale

    def quiet(self) -> float:
        """Return how long nothing happens between two troubles."""
        return self.random.uniform(1, 6) * self.scale

    def _kill(self) -> Callable[[], None]:
        self.agents.kill()
        return self.agents.start

    def _end(self) -> Callable[[], None]:
        self.agents.end()
        return self.agents.start

    def _restart(self, *flags: str) -> Callable[[], None]:
        self.agents.kill()
        self.agents.start(flags)
        return self._back_to_normal

    def _back_to_normal(self) -> None:
        self.agents.end()
        self.agents.start()

    def _no_spans(self) -> Callable[[], None]:
        return self._restart("-export-error", "UNAVAILABLE")

    def _slow_spans(self) -> Callable[[], None]:
        return self._restart("-export-delay", f"{self.random.uniform(1, 4):.1f}s")

    def _pause(self) -> Callable[[], None]:
        self.agents.pause(True)
        return lambda: self.agents.pause(False)

    def _slow(self) -> Callable[[], None]:
        self.proxy.slow(self.random.uniform(0.01, 0.15))
        return lambda: self.proxy.slow(0)

    def _cut(self) -> None:
        self.proxy.cut(halfway=False)

    def _cut_halfway(self) -> None:
        self.proxy.cut(halfway=True)

    def _cut_often(self) -> Callable[[], None]:
        pauses = [self.random.uniform(0.05, 0.5) for _ in range(1000)]
        self._cutting_over.clear()

        def cut() -> None:
            for number, pause in enumerate(pauses):
                if self._cutting_over.wait(pause):
                    return
                self.proxy.cut(halfway=number % 2 == 0)

        self._cutting = threading.Thread(target=cut, name="cuts")
        self._cutting.start()
        return self.close

    def _stall(self) -> Callable[[], None]:
        self.proxy.stall(True)
        return lambda: self.proxy.stall(False)

    def _refuse(self) -> Callable[[], None]:
        self.proxy.refuse(True)
        return lambda: self.proxy.refuse(False)

    def _drop(self) -> Callable[[], None]:
        self.proxy.drop(True)
        return lambda: self.proxy.drop(False)

    def _stall_and_kill(self) -> Callable[[], None]:
        self.proxy.stall(True)
        self.agents.kill()

        def heal() -> None:
            self.agents.start()
            self.proxy.stall(False)

        return heal


class Soak:
    """One run: rounds of flows, each with a client of its own."""

    def __init__(self, host: Host, troubles: Troubles) -> None:
        self.host = host
        self.troubles = troubles
        self.rounds: list[identities.Round] = []
        self.samples: list[identities.Sample] = []

    def run(self, rounds: int, seconds: float) -> None:
        for number in range(rounds):
            calm = number == rounds - 1
            cancels = number % 2 == 1
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            self.host.tell(f"begin {int(cancels)}")
            self.host.expect("begun", BEGIN_SECONDS)
            end = time.monotonic() + seconds
            heal = self._suffer(end)
            healed: Event = {}
            if calm:
                heal()
                self.host.tell("heal")
                healed = self.host.expect("healed", HEAL_SECONDS)
            self.host.tell(f"close 1 {CALM_CLOSE_MS}" if calm else f"close 0 {ABRUPT_CLOSE_MS}")
            closed = self.host.expect("closed", CLOSE_SECONDS)
            heal()
            self.rounds.append(
                identities.Round(
                    calm=calm,
                    counts=closed["counts"],
                    stats=closed["stats"],
                    before=closed["before"],
                    close_code=closed["code"],
                    live_handles=closed["live_handles"],
                    healed=healed,
                )
            )

    def _suffer(self, end: float) -> Callable[[], None]:
        """Let troubles happen until the time is over. Return what ends the last one, which may be called twice."""
        pending: list[Callable[[], None]] = []

        def heal() -> None:
            while pending:
                pending.pop()()

        while True:
            if not self._wait(self.troubles.quiet(), end):
                return heal
            ending, seconds = self.troubles.begin()
            if ending is not None:
                pending.append(ending)
            if not self._wait(seconds, end):
                return heal
            heal()

    def _wait(self, seconds: float, end: float) -> bool:
        """Wait, and look at the host meanwhile. Return False when the round is over."""
        until = min(time.monotonic() + seconds, end)
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, SAMPLE_SECONDS))
            self.host.check_alive()
            self.troubles.agents.check_alive()
            self.samples.append(self.host.sample())
        return until < end


# ---- The report ----


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def flows_table(rounds: Sequence[identities.Round]) -> str:
    names = [*(str(number + 1) for number in range(len(rounds))), "all"]

    def row(name: str, value: Callable[[identities.Round], int]) -> list[str]:
        values = [value(one) for one in rounds]
        return [name, *(str(number) for number in (*values, sum(values)))]

    def count(name: str, *keys: str) -> list[str]:
        return row(name, lambda one: sum(one.counts[key] for key in keys))

    def stat(name: str, key: str) -> list[str]:
        return row(name, lambda one: one.stats[key])

    rows = [
        ["round", *names],
        count("flows asked for", "started"),
        count("  refused: client closed", "start_refused"),
        count("  cancelled", "start_cancelled"),
        count("  accepted", "accepted"),
        count("  rejected", "rejected"),
        count("  failed open", "failed_open"),
        count("  refused in ramp mode", "refused_in_ramp_mode"),
        *(count(f"    unreachable: {reason}", f"unreachable_{reason}") for reason in identities.REASONS),
        count("flows ended", "ended"),
        count("  gave back tokens", "ends_answered"),
        count("  could not give back", "ends_unreachable"),
        count("  end cancelled", "ends_cancelled"),
        count("flows closed without an end", "not_ended"),
        stat("spans sent", "spans_exported"),
        stat("spans dropped", "spans_dropped"),
    ]
    return table(rows)


def identities_table(rounds: Sequence[identities.Round], others: Sequence[identities.Identity]) -> tuple[str, bool]:
    """Return a table of all identities, and whether all hold."""

    def bounds(identity: identities.Identity) -> list[str]:
        if identity.low == identity.high:
            return [str(identity.value), f"= {identity.low}"]
        return [str(identity.value), f"{identity.low} to {identity.high}"]

    def row(name: str, of: Sequence[identities.Identity]) -> list[str]:
        shown = next((one for one in of if not one.holds), of[-1])
        verdict = "holds" if shown.holds else "DOES NOT HOLD"
        return [name, *bounds(shown), verdict]

    per_round: dict[str, list[identities.Identity]] = {}
    for one in rounds:
        for identity in identities.of_round(one):
            per_round.setdefault(identity.name, []).append(identity)
    rows = [["of each client (shown: the last, or the first that fails)", "is", "must be", ""]]
    rows += [row(name, of) for name, of in per_round.items()]
    rows += [["of all", "", "", ""]]
    rows += [row(one.name, [one]) for one in others]
    return table(rows), all(row[3] != "DOES NOT HOLD" for row in rows)


def report(soak: Soak, agents: Agents, proxy: Proxy, out: Callable[[str], object]) -> bool:
    """Print what happened, and return whether everything adds up."""
    seen = identities.Agents(
        accepted=agents.records["A"],
        rejected=agents.records["R"],
        failed=agents.records["X"],
        flow_ends=agents.records["E"],
        spans=agents.records["S"],
        unique_spans=len(agents.span_ids),
        disagreements=len(agents.disagreements),
    )
    others = identities.of_agents(soak.rounds, seen) + identities.of_samples(soak.samples)
    table_text, holds = identities_table(soak.rounds, others)
    out(flows_table(soak.rounds) + "\n\n")
    out(table([["trouble", "times"], *([name, str(n)] for name, n in sorted(soak.troubles.happened.items()))]) + "\n\n")
    rows = [
        ["agents", ""],
        ["started", str(agents.started)],
        ["killed", str(agents.killed)],
        ["flows accepted", str(seen.accepted)],
        ["flows rejected", str(seen.rejected)],
        ["flows without a decision", str(seen.failed)],
        ["ends answered", str(seen.flow_ends)],
        ["spans", str(seen.spans)],
        ["  of those sent again", str(seen.spans - seen.unique_spans)],
        ["connections", str(proxy.connections)],
        ["  cut", str(proxy.cuts)],
    ]
    out(table(rows) + "\n\n")
    rows = [["host process", "second quarter", "last quarter", "most"]]
    for one in identities.resources(soak.samples):
        rows.append([one.name, str(one.second_quarter), str(one.last_quarter), str(one.most)])
    out(table(rows) + "\n\n" + table_text + "\n")
    for disagreement in agents.disagreements:
        out(disagreement + "\n")
    out("\n" + ("everything adds up" if holds else "SOMETHING WAS LOST, OR COUNTED WRONG") + "\n")
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs flows against an agent that suffers, and counts.")
    parser.add_argument("--minutes", type=float, default=5, help="how long (default: 5)")
    parser.add_argument("--seed", type=int, default=None, help="of the schedule (default: by chance)")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error("--minutes must be more than 0")
    seed: int = options.seed if options.seed is not None else int(time.time()) % 100_000
    sys.stdout.write(f"soak: {options.minutes} minutes, seed {seed}, {os.cpu_count()} CPUs\n\n")
    sys.stdout.flush()

    rounds = max(3, round(options.minutes))
    scale = min(1.0, options.minutes / FULL_MINUTES)
    holds = False
    with tempfile.TemporaryDirectory() as folder:
        agents = Agents(BUILD / "fakeagent", Path(folder))
        proxy = Proxy(agents.port, seed)
        troubles = Troubles(agents, proxy, seed, scale)
        host: Optional[Host] = None
        try:
            agents.start()
            host = Host(BUILD / "soak" / "host", f"127.0.0.1:{proxy.port}", seed)
            soak = Soak(host, troubles)
            soak.run(rounds, options.minutes * 60 / rounds)
            code = host.end()
            if code != 0:
                raise SoakError(f"the host ended with {code}")
            agents.end()
            holds = report(soak, agents, proxy, sys.stdout.write)
        except SoakError as error:
            last = json.dumps(host.progress) if host is not None else "none"
            sys.stdout.write(f"run.py: {error}\nthe host's last progress: {last}\n")
        finally:
            if host is not None:
                host.end()
            troubles.close()
            proxy.close()
            agents.close()
    return 0 if holds else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes are ended
    sys.exit(main())
