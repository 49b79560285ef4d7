"""Measures what a flow costs from each language, beside its floors, and prints one table. See docs/benchmarks.md.

    run.py [--rounds N] [--seconds S]

Every case is a short process of its own. Each round runs all cases once, so that what else the machine does hits all of
them alike; the table has the medians of the rounds. Nothing fails because it is slow.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
BUILD = ROOT / "build"
VENV_PYTHON = BUILD / "venv" / "bin" / "python"
PYTHON = str(VENV_PYTHON) if VENV_PYTHON.exists() else sys.executable

COMMANDS = {
    "grpc-go": [str(BUILD / "bench" / "bare")],
    "C": [str(BUILD / "bench" / "flow")],
    "Python": [PYTHON, str(BENCH / "flow.py")],
    "Node": [os.environ.get("NODE", "node"), str(BENCH / "flow.mjs")],
}
FLOWS = [("C", "blocking"), ("C", "async"), ("Python", "blocking"), ("Python", "asyncio"), ("Node", "async")]

# Every flow takes a token from one bucket, which never runs dry.
POLICY = """\
blueprint: rate-limiting/base
policy:
  policy_name: bench
  rate_limiter:
    bucket_capacity: 1000000000000
    fill_amount: 1000000000000
    parameters:
      interval: 1s
      limit_by_label_key: user_id
    selectors:
      - control_point: checkout
"""

NS_PER_US = 1000
HANG_SECONDS = 60  # added to the time of a case, to end one that hangs


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    language: str
    kind: str
    transport: str  # "gRPC", "local", or "" for an empty call
    in_flight: int

    @property
    def baseline(self) -> "Case":
        """What the row is compared with."""
        if self.transport == "gRPC":
            return Case("grpc-go", "check", "gRPC", self.in_flight)
        return Case(self.language, "empty", "", 1)


def all_cases() -> list[Case]:
    cases = []
    for in_flight in (1, 64):
        cases.append(Case("grpc-go", "check", "gRPC", in_flight))
        cases += [Case(language, kind, "gRPC", in_flight) for language, kind in FLOWS]
    cases += [Case(language, "empty", "", 1) for language in ("C", "Python", "Node")]
    for in_flight in (1, 64):
        cases += [Case(language, kind, "local", in_flight) for language, kind in FLOWS]
    return cases


@contextmanager
def running_agent() -> Iterator[str]:
    """Run the scripted agent and yield its address."""
    command = [str(BUILD / "fakeagent"), "-keep", "-1"]
    agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        line = agent.stdout.readline() if agent.stdout else ""
        _, found, address = line.strip().partition("listening on ")
        if not found:
            sys.exit(f"run.py: the agent did not start; it said {line!r}")
        yield address
    finally:
        try:
            agent.communicate(timeout=10)  # closes its standard input, which ends it
        except subprocess.TimeoutExpired:
            agent.kill()
            agent.communicate()


def measure(case: Case, address: str, seconds: float) -> float:
    """Run one case and return nanoseconds per flow."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "bindings" / "python" / "src"))
    environment["APERTURE_LIBRARY"] = str(BUILD / "libaperture.so")
    command = [*COMMANDS[case.language], case.kind, address, str(case.in_flight), str(seconds)]
    try:
        limit = HANG_SECONDS + 2 * seconds
        done = subprocess.run(  # noqa: S603
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=limit
        )
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"run.py: {error}")
    kind, _, nanoseconds = done.stdout.strip().partition("\t")
    if kind != case.kind:
        sys.exit(f"run.py: {' '.join(command)} printed {done.stdout!r}")
    return float(nanoseconds)


def time_text(nanoseconds: float) -> str:
    return f"{nanoseconds:.0f} ns" if nanoseconds < NS_PER_US else f"{nanoseconds / NS_PER_US:.2f} µs"


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table whose first column is text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])])
        for row in rows
    ]


def table(results: dict[Case, list[float]]) -> str:
    medians = {case: statistics.median(times) for case, times in results.items()}
    rows = [["case", "in flight", "median", "fastest", "slowest", "ratio"]]
    titles: dict[int, str] = {}
    transport: Optional[str] = None
    for case, times in results.items():
        section = "gRPC" if case.transport == "gRPC" else "local"
        if section != transport:
            transport = section
            titles[len(rows)] = {
                "gRPC": "over gRPC; ratio to the bare Check with as many in flight",
                "local": "in process; ratio to the empty call of the language",
            }[section]
        name = f"{case.language} {case.kind}{' call' if not case.transport else ''}"
        ratio = medians[case] / medians[case.baseline]
        cells = [time_text(value) for value in (medians[case], min(times), max(times))]
        rows.append([name, str(case.in_flight), *cells, f"{ratio:.2f}"])
    lines = []
    for number, line in enumerate(aligned(rows)):
        lines += ["", titles[number], line] if number in titles else [line]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a flow costs from each language.")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case runs (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each case runs (default: 0.5)")
    options = parser.parse_args()
    if options.rounds < 1 or not options.seconds > 0:
        parser.error("--rounds must be at least 1, and --seconds more than 0")

    cases = all_cases()
    results: dict[Case, list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder, running_agent() as agent:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(POLICY, encoding="utf-8")
        for number in range(options.rounds):
            sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
            for case in cases:
                address = agent if case.transport == "gRPC" else f"local:{policy}"
                results[case].append(measure(case, address, options.seconds))

    sys.stdout.write(
        "A flow: start, end and close. The time is what passed, divided by the flows that were done in it.\n"
        f"Rounds: {options.rounds}, of {options.seconds} s for each case; CPUs: {os.cpu_count()}.\n\n"
    )
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
