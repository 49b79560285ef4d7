"""Measures what a flow costs from Python: its start and its end, which closes its handle.

    flow.py blocking|asyncio|empty ADDRESS IN_FLIGHT SECONDS

"blocking" runs IN_FLIGHT threads with one flow each, "asyncio" runs IN_FLIGHT flows in one event loop, and "empty"
calls a function of the library that does nothing. It prints the kind, a tab, and nanoseconds per flow (or call): the
time that passed, divided by the flows of all threads or tasks.
"""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams

BATCH = 8  # flows between two looks at the clock
PARAMS = FlowParams(explicit_labels={"tier": "gold", "user_id": "alice"})

# What a measurement returns: the number of flows, and the seconds that passed.
Result = tuple[int, float]


def measure_blocking(client: ApertureClient, in_flight: int, seconds: float) -> Result:
    start = threading.Barrier(in_flight)

    def work() -> tuple[int, float]:
        start.wait()
        begin = perf_counter()
        flows = 0
        while perf_counter() - begin < seconds:
            for _ in range(BATCH):
                client.start_flow("checkout", PARAMS).end()
            flows += BATCH
        return flows, begin

    with ThreadPoolExecutor(in_flight) as threads:
        results = [future.result() for future in [threads.submit(work) for _ in range(in_flight)]]
    return sum(flows for flows, _ in results), perf_counter() - min(begin for _, begin in results)


async def measure_asyncio(client: ApertureClient, in_flight: int, seconds: float, local: bool) -> Result:
    # A local decision is there at once, so that awaiting it lets no other task run: one task then holds all flows.
    tasks, flows_of_task = (1, in_flight) if local else (in_flight, 1)
    begin = perf_counter()

    async def work() -> int:
        flows = 0
        while perf_counter() - begin < seconds:
            for _ in range(max(1, BATCH // flows_of_task)):
                started = [await client.start_flow("checkout", PARAMS) for _ in range(flows_of_task)]
                for flow in started:
                    await flow.end()
                flows += flows_of_task
        return flows

    counts = await asyncio.gather(*[work() for _ in range(tasks)])
    return sum(counts), perf_counter() - begin


def measure_empty(seconds: float) -> Result:
    abi_version = _library.load().abi_version
    begin = perf_counter()
    calls = 0
    while perf_counter() - begin < seconds:
        for _ in range(BATCH):
            abi_version()
        calls += BATCH
    return calls, perf_counter() - begin


def check_decisions(client: ApertureClient) -> None:
    """A number is worthless when the flows behind it were not decided."""
    stats = client.stats()
    others = stats.flows_rejected + stats.flows_unreachable
    if others * 100 > stats.flows_accepted:
        sys.exit(f"flow.py: {stats.flows_accepted} flows were accepted, but {others} were not")


async def run_asyncio(address: str, in_flight: int, seconds: float) -> Result:
    async with ApertureClient.new_client(address=address, insecure=True) as client:
        await client.wait_ready(10)
        local = address.startswith("local:")
        await measure_asyncio(client, in_flight, seconds * 0.2, local)  # warm up
        result = await measure_asyncio(client, in_flight, seconds, local)
        check_decisions(client)
        return result


def run_blocking(address: str, in_flight: int, seconds: float) -> Result:
    with ApertureClient.new_client(address=address, insecure=True) as client:
        client.wait_ready(10)
        measure_blocking(client, in_flight, seconds * 0.2)  # warm up
        result = measure_blocking(client, in_flight, seconds)
        check_decisions(client)
        return result


def run_empty(seconds: float) -> Result:
    measure_empty(seconds * 0.2)  # warm up
    return measure_empty(seconds)


def main() -> None:
    kind, address, in_flight, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    if kind == "asyncio":
        flows, elapsed = asyncio.run(run_asyncio(address, in_flight, seconds))
    elif kind == "blocking":
        flows, elapsed = run_blocking(address, in_flight, seconds)
    elif kind == "empty":
        flows, elapsed = run_empty(seconds)
    else:
        sys.exit(f"flow.py: {kind} is neither blocking, asyncio nor empty")
    sys.stdout.write(f"{kind}\t{elapsed / flows * 1e9:.1f}\n")


if __name__ == "__main__":
    main()
