"""Measures flows that are decided in the process against bounds on what they may cost. See docs/benchmarks.md.

    ratios.py [--runs N] [--rounds N] [--seconds S]

Every case is a process that waits to be told to run for a short slice. A round runs a slice of each case, so that what
else the machine does hits all of them alike; a ratio is that of two slices of a round, and the table has the median of
all rounds. Each run begins with new processes, because some of what makes one fast or slow is drawn at its start.
Nothing fails because it is slow.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from run import BUILD, POLICY, aligned

GO = str(BUILD / "bench" / "inprocess")
C = str(BUILD / "bench" / "flow")
EXIT_SECONDS = 10  # for a case to end in
FEWEST_ROUNDS = 2  # that have quartiles

HEAP = "32"  # MiB that a process in Go keeps for itself, as services do

# The arguments of the cases, in which POLICIES stands for the address.
CASES = {
    "limiter": [GO, "limiter", "-", "1", "1", HEAP],
    "flow": [GO, "flow", "POLICIES", "1", "1", HEAP],
    "flow of C": [C, "blocking", "POLICIES", "1", "-"],
    "empty call of C": [C, "empty", "POLICIES", "1", "-"],
    "flow, many keys": [GO, "flow", "POLICIES", "100000", "1", HEAP],
    "flow, one thread": [GO, "flow", "POLICIES", "1000", "1", HEAP],
    "flow, two threads": [GO, "flow", "POLICIES", "1000", "2", HEAP],
    "flow, two processes": [GO, "flow", "POLICIES", "1000", "1", HEAP],
    "flow, one thread, no heap": [GO, "flow", "POLICIES", "1000", "1", "0"],
    "flow, two threads, no heap": [GO, "flow", "POLICIES", "1000", "2", "0"],
    "limiter, one thread": [GO, "limiter", "-", "1000", "1", HEAP],
    "limiter, two threads": [GO, "limiter", "-", "1000", "2", HEAP],
}


# The cases that are two processes, which run at the same time.
TWO_PROCESSES = {"flow, two processes"}


@dataclass(frozen=True)
class Slice:
    """Nanoseconds per flow: the CPU time of the threads that run flows, and the time that passed."""

    cpu: float
    elapsed: float


Round = dict[str, Slice]


@dataclass(frozen=True)
class Ratio:
    name: str
    bound: str
    cpu: Callable[[Round], float]
    elapsed: Callable[[Round], float]


def same(name: str, bound: str, ratio: Callable[[dict[str, float]], float]) -> Ratio:
    """Return a ratio that is taken in the same way of both times."""
    return Ratio(
        name,
        bound,
        lambda one: ratio({case: part.cpu for case, part in one.items()}),
        lambda one: ratio({case: part.elapsed for case, part in one.items()}),
    )


def scaling(name: str, bound: str, alone: str, both: str) -> Ratio:
    """Return how much more two threads or processes do than one."""
    return Ratio(
        name,
        bound,
        lambda one: 2 * one[alone].cpu / one[both].cpu,
        lambda one: one[alone].elapsed / one[both].elapsed,
    )


RATIOS = [
    same("flow in Go / limiter", "<= 8", lambda time: time["flow"] / time["limiter"]),
    same(
        "(flow through the C ABI - 4 empty calls) / limiter",
        "<= 8",
        lambda time: (time["flow of C"] - 4 * time["empty call of C"]) / time["limiter"],
    ),
    same("100,000 keys / 1 key", "<= 2", lambda time: time["flow, many keys"] / time["flow"]),
    scaling("two cores / one", ">= 1.6", "flow, one thread", "flow, two threads"),
]
# What the machine lets anything have of a second core: processes have nothing in common, and a limiter does little. And
# what is left in a process that has nothing but flows, whose 4 MiB are collected every few milliseconds.
REFERENCES = [
    scaling("two cores / one, by a process each", "", "flow, one thread", "flow, two processes"),
    scaling("two cores / one, of the limiter", "", "limiter, one thread", "limiter, two threads"),
    scaling("two cores / one, in an empty heap", "", "flow, one thread, no heap", "flow, two threads, no heap"),
]


class Case:
    """A process that runs slices, or several that do so at the same time."""

    def __init__(self, arguments: list[str], processes: int) -> None:
        self.arguments = arguments
        self.processes = [
            subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)  # noqa: S603
            for _ in range(processes)
        ]

    def run(self, seconds: float) -> Slice:
        for process in self.processes:
            if process.stdin is None:
                raise RuntimeError("the process has no pipe")
            process.stdin.write(f"{seconds}\n")
        slices = [self.read(process) for process in self.processes]
        cpu = statistics.harmonic_mean([part.cpu for part in slices])
        return Slice(cpu, 1 / sum(1 / part.elapsed for part in slices))

    def read(self, process: "subprocess.Popen[str]") -> Slice:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            sys.exit(f"ratios.py: {' '.join(self.arguments)} has ended")
        cpu, elapsed = line.split("\t")
        return Slice(float(cpu), float(elapsed))

    def __enter__(self) -> "Case":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            try:
                process.communicate(timeout=EXIT_SECONDS)  # closes its standard input, which ends it
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        if any(process.returncode != 0 for process in self.processes):
            sys.exit(f"ratios.py: {' '.join(self.arguments)} has failed")


def run(rounds: int, seconds: float, address: str) -> list[Round]:
    with ExitStack() as stack:
        cases = {
            name: stack.enter_context(
                Case(
                    [address if text == "POLICIES" else text for text in arguments],
                    2 if name in TWO_PROCESSES else 1,
                )
            )
            for name, arguments in CASES.items()
        }
        results = []
        for number in range(-1, rounds):
            names = list(cases)
            if number % 2:
                names.reverse()  # so that no case always comes after the same one
            result = {name: cases[name].run(seconds) for name in names}
            if number >= 0:  # the first warms up
                results.append(result)
    return results


def table(results: list[Round]) -> str:
    rows = [["ratio", "bound", "median", "quartiles", "by the clock"]]
    for ratio in [*RATIOS, *REFERENCES]:
        low, median, high = statistics.quantiles([ratio.cpu(one) for one in results], n=4)
        elapsed = statistics.median(ratio.elapsed(one) for one in results)
        rows.append([ratio.name, ratio.bound, f"{median:.2f}", f"{low:.2f} to {high:.2f}", f"{elapsed:.2f}"])
    return "\n".join(aligned(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures flows in the process against bounds.")
    parser.add_argument("--runs", type=int, default=8, help="how often the processes are started (default: 8)")
    parser.add_argument("--rounds", type=int, default=20, help="how many rounds a run has (default: 20)")
    parser.add_argument("--seconds", type=float, default=0.03, help="how long a slice is (default: 0.03)")
    options = parser.parse_args()
    if options.runs < 1 or options.rounds < FEWEST_ROUNDS or not options.seconds > 0:
        parser.error(f"--runs must be at least 1, --rounds at least {FEWEST_ROUNDS}, and --seconds more than 0")

    results: list[Round] = []
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY, encoding="utf-8")
        for _ in range(options.runs):
            results += run(options.rounds, options.seconds, f"local:{policy}")
    sys.stdout.write(
        "A flow in the process, of CPU time: start and end, and in C the close of the handle.\n"
        f"Rounds: {len(results)}, of {options.seconds} s for each case; CPUs: {os.cpu_count()}.\n\n"
    )
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
