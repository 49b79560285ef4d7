#!/usr/bin/env python3
"""Runs the same trace of checkouts through the C, the Python and the Node example, and prints one table.

First the library decides in process, then aperture-local decides over gRPC on loopback. With APERTURE_AGENT_ADDRESS set
that agent decides instead; APERTURE_API_KEY is not used, and APERTURE_AGENT_INSECURE=true asks for plaintext. The
runtimes must agree, or the command fails. `make demo` builds what this needs.
"""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

ROOT = Path(__file__).resolve().parent.parent
POLICY = Path("examples/policies/rate-limiting.yaml")
TRACE = Path("examples/trace.txt")
LISTENING = "aperture-local: listening on "
DEADLINE_SECONDS = 60


class Row(NamedTuple):
    tier: str
    accepted: str
    rejected: str
    retry_after: str


def commands() -> Dict[str, List[str]]:
    build = ROOT / "build"
    return {
        "C": [str(build / "examples" / "checkout")],
        "Python": [str(build / "venv" / "bin" / "python"), "examples/python/checkout.py"],
        "Node": [os.environ.get("NODE", "node"), "examples/node/checkout.mjs"],
    }


def run(command: List[str], address: str, insecure: bool) -> List[Row]:
    """Run one example. Each run has users of its own, so that runs against one agent share no bucket."""
    arguments = ["--address", address, "--user-prefix", secrets.token_hex(4) + "-", str(TRACE)]
    if insecure:
        arguments.insert(0, "--insecure")
    done = subprocess.run(
        command + arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    if done.returncode != 0:
        sys.exit(f"demo: {' '.join(command)} failed with exit code {done.returncode}")
    return [Row(*line.split("\t")) for line in done.stdout.splitlines()]


class ApertureLocal:
    """aperture-local, for as long as the with block runs."""

    def __enter__(self) -> str:
        self.process = subprocess.Popen(
            [str(ROOT / "build" / "aperture-local"), "--listen", "127.0.0.1:0", "--metrics", "off", str(POLICY)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(LISTENING):
                return line[len(LISTENING) :].strip()
        sys.exit("demo: aperture-local did not start")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE_SECONDS)


def results() -> Iterator[Tuple[str, str, Row]]:
    """Yield the runtime, what decided, and a row, for everything that the demo runs."""
    agent = os.environ.get("APERTURE_AGENT_ADDRESS")
    if agent:
        insecure = os.environ.get("APERTURE_AGENT_INSECURE", "").lower() in ("1", "true")
        for runtime, command in commands().items():
            for row in run(command, agent, insecure):
                yield runtime, agent, row
        return
    in_process = f"local:{POLICY}"
    for runtime, command in commands().items():
        for row in run(command, in_process, insecure=False):
            yield runtime, in_process, row
    with ApertureLocal() as address:
        for runtime, command in commands().items():
            for row in run(command, address, insecure=True):
                yield runtime, f"aperture-local at {address}", row


def main() -> None:
    header = ("runtime", "address", "tier", "accepted", "rejected", "longest retry-after")
    table: List[Tuple[str, ...]] = [header]
    answers: Dict[Row, List[str]] = {}
    for runtime, decided_by, row in results():
        table.append((runtime, decided_by, row.tier, row.accepted, row.rejected, row.retry_after + " s"))
        answers.setdefault(row, []).append(f"{runtime} ({decided_by})")
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    for number, line in enumerate(table):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))

    runs = len({line[:2] for line in table[1:]})
    by_tier: Dict[str, List[Row]] = {}
    for row in answers:
        by_tier.setdefault(row.tier, []).append(row)
    for tier, rows in sorted(by_tier.items()):
        if len(rows) > 1 or len(answers[rows[0]]) != runs:
            print(f"\ndemo: the {runs} runs do not agree about {tier}:", file=sys.stderr)
            for row in rows:
                print(f"  {row.accepted}/{row.rejected}/{row.retry_after} s: {', '.join(answers[row])}", file=sys.stderr)
            sys.exit(1)
    if not by_tier:
        sys.exit("demo: no run reported anything")
    print(f"\nAll {runs} runs agree.")


if __name__ == "__main__":
    main()
