#!/usr/bin/env python3
"""Runs exit_test, a program in C, in every way of ending and every use of the library, many times and several at once.

    exit_test.py PROGRAM AGENT

Each process must end with the status that it asked for, write nothing, and not hang. How long the end took is printed,
and as a ratio of the same end of a process that never used the library. AGENT is the program of tests/fakeagent.
"""

import json
import os
import select
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

WAYS = ["return", "exit", "_exit", "quick_exit", "thread", "pthread_exit", "atexit", "at_quick_exit"]
STATUS = 7
FLOWS = 100  # of a process that closes its client
TIMES = {"none": 10, "open": 10, "busy": 50, "closed": 10}
AT_ONCE = 4
HUNG = 20.0  # seconds until a process is killed
TOO_LONG = 5.0  # seconds that an end may take on the busiest of machines


class Agent:
    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [program, "-keep=-1", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[-1]

    def stop(self) -> Any:
        report, _ = self.process.communicate(timeout=60)  # which ends its standard input, and so the agent
        return json.loads(report)


def end(program: str, way: str, use: str, address: str) -> float:
    """Runs one process. Returns how many seconds passed between its call and its end."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [program, way, use, address, str(write_end)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[write_end],
    )
    os.close(write_end)
    # The kernel closes its descriptors when the last of its threads has gone.
    said, deadline = b"", time.monotonic() + HUNG
    while select.select([read_end], [], [], max(0.0, deadline - time.monotonic()))[0]:
        more = os.read(read_end, 100)
        if not more:
            break
        said += more
    else:
        process.kill()
    ended = time.monotonic_ns()
    os.close(read_end)
    output, _ = process.communicate(timeout=60)
    name = f"{way}, {use}"
    if process.returncode != STATUS or output or not said:
        sys.exit(f"exit: {name}: status {process.returncode}, expected {STATUS}; it wrote {output.decode()!r}")
    return (ended - int(said)) / 1e9


def medians(program: str, use: str, address: str) -> list[float]:
    """Runs every way of ending with one use of the library. Returns the median time of each."""
    times = max(1, TIMES[use] // int(os.environ.get("TEST_DIVISOR", "1")))
    result = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for way in WAYS:
            took = list(pool.map(lambda _, way=way: end(program, way, use, address), range(times)))
            if max(took) > TOO_LONG:
                sys.exit(f"exit: {way}, {use}: took {max(took):.3f} s")
            result.append(statistics.median(took))
    return result


def main() -> None:
    program, agent_program = sys.argv[1:]
    silent = Agent(agent_program, "-hang")
    answering = Agent(agent_program)
    measured = {use: medians(program, use, silent.address) for use in ["none", "open", "busy"]}
    measured["closed"] = medians(program, "closed", answering.address)
    silent.stop()
    report = answering.stop()

    sys.stdout.write(
        "measured: median milliseconds from the call to the end (and the ratio to a process without the library)\n"
    )
    for number, way in enumerate(WAYS):
        cells = [
            f"{use} {took[number] * 1e3:.2f} ({took[number] / measured['none'][number]:.1f})"
            for use, took in measured.items()
        ]
        sys.stdout.write(f"measured: {way:14} {', '.join(cells)}\n")

    spans = len(WAYS) * max(1, TIMES["closed"] // int(os.environ.get("TEST_DIVISOR", "1"))) * FLOWS
    if report["span_count"] != spans:
        sys.exit(f"exit: {report['span_count']} spans have come of {spans} flows whose clients were closed")
    sys.stdout.write("exit: done\n")


if __name__ == "__main__":
    main()
