#!/usr/bin/env python3
"""Runs a trace of requests through flow control, and prints for each user tier how many flows were accepted and
rejected, and the longest time that a rejected caller was told to wait.

    python checkout.py --address ADDRESS [--insecure] [--user-prefix PREFIX] TRACE

ADDRESS is that of an agent (host:port), or local:policies.yaml to decide in this process. Each line of TRACE is a tier
and a user.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

# In a service this line is not needed: the package is installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings" / "python" / "src"))

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ApertureError
from aperture_sdk.flow import FlowDecision


@dataclass
class Count:
    """What happened to the requests of one tier."""

    accepted: int = 0
    rejected: int = 0
    retry_after: timedelta = timedelta(0)


def read_trace(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the requests of a trace: lines "tier user", empty lines, and comments that begin with #."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise ValueError(f'{path}: line {number}: expected "tier user", found {line!r}')
        yield words[0], words[1]


def checkout(client: ApertureClient, tier: str, user: str, count: Count) -> None:
    """Guard one request. A service does its work where the comment says so."""
    params = FlowParams(explicit_labels={"tier": tier, "user_id": user}, check_timeout=timedelta(seconds=2))
    # The with block ends the flow, with the status Error when an exception leaves it.
    with client.start_flow(control_point="checkout", params=params) as flow:
        if flow.decision == FlowDecision.Unreachable:
            # A service goes on here: should_run() says whether. This program is about decisions, and wants to see them.
            raise flow.error() or RuntimeError("the flow is unreachable")
        if flow.should_run():
            # ... the work ...
            count.accepted += 1
        else:
            count.rejected += 1
            count.retry_after = max(count.retry_after, flow.retry_after() or timedelta(0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a trace of requests through flow control.")
    parser.add_argument("--address", required=True)
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--user-prefix", default="")
    parser.add_argument("trace", type=Path)
    arguments = parser.parse_args()

    counts: defaultdict[str, Count] = defaultdict(Count)
    try:
        requests = list(read_trace(arguments.trace))
        with ApertureClient.new_client(address=arguments.address, insecure=arguments.insecure) as client:
            client.wait_ready(timedelta(seconds=5))
            for tier, user in requests:
                checkout(client, tier, arguments.user_prefix + user, counts[tier])
    except (ApertureError, OSError, ValueError) as error:
        sys.exit(f"checkout: {error}")
    for tier, count in sorted(counts.items()):
        print(tier, count.accepted, count.rejected, math.ceil(count.retry_after.total_seconds()), sep="\t")


if __name__ == "__main__":
    main()
