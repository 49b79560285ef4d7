"""Memory does not grow with the number of flows, whatever becomes of them, and no handle is left."""

from typing import Callable

import pytest
from processes import DEADLINE, FakeAgent, run_python

StartAgent = Callable[..., FakeAgent]

# Runs rounds of flows, of which the first two warm up, and measures after each. The memory of Go grows and shrinks as
# its collector pleases, so the least of the first rounds and the least of the last ones are compared.
MEASURE = """
import asyncio, gc, sys
from datetime import timedelta
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowStatus

address, count = sys.argv[1], int(sys.argv[2])
ROUNDS = 10
patient = FlowParams(check_timeout=timedelta(seconds=30))
client = ApertureClient.new_client(address=address, insecure=True)
live_handles = _library.load().live_handles

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

def measure():
    work(count // 10)
    gc.collect()
    assert live_handles() == 1, live_handles()
    return resident(), sys.getallocatedblocks()

WORK

for _ in range(2):
    measure()
first = [measure() for _ in range(ROUNDS // 2)]
last = [measure() for _ in range(ROUNDS // 2)]
client.close()
assert live_handles() == 0
print(*[min(of)[kind] - min(before)[kind] for kind, of, before in ((0, last, first), (1, last, first))])
"""

PATHS = {
    "accepted": """
def work(count):
    for _ in range(count):
        client.start_flow("checkout").end()
""",
    "bad arguments": """
def work(count):
    wrong = [
        lambda: client.start_flow(None),
        lambda: client.start_flow(""),
        lambda: client.start_flow("checkout", FlowParams(explicit_labels={"key": 1})),
        lambda: client.start_flow("checkout", FlowParams(explicit_labels=7)),
        lambda: client.start_flow("checkout", FlowParams(check_timeout=timedelta(seconds=-1))),
        lambda: flow.set_status(1),
        lambda: client.wait_ready(-1),
        lambda: ApertureClient.new_client(address=""),
        lambda: ApertureClient.new_client(address="local:/absent.yaml"),
        lambda: ApertureClient.new_client(address="localhost:1", ca_file="/absent.pem"),
    ]
    flow = client.start_flow("checkout")
    for number in range(count):
        try:
            if number % 500:
                wrong[number % len(wrong)]()
            else:
                client.start_flow("checkout", FlowParams(explicit_labels={"key": "x" * 4_000_000}))
        except (TypeError, ValueError):
            continue
        raise AssertionError(f"number {number} is no error")
    flow.end()
""",
    "rejected": """
params = FlowParams(explicit_labels={"user_id": "alice"})

def work(count):
    ran = 0
    for _ in range(count):
        with client.start_flow("checkout", params) as flow:
            ran += flow.should_run()
            flow.retry_after()
    assert ran <= 3
""",
    "ended twice": """
def work(count):
    for _ in range(count):
        flow = client.start_flow("checkout")
        flow.end()
        assert flow.end().get_error() is not None
        flow.set_status(FlowStatus.Error)
""",
    "never ended": """
def work(count):
    for number in range(count):
        kept = [client.start_flow("checkout")]
        if number % 4 == 0:
            kept.append(kept)  # for the garbage collector to find
""",
    "unreachable": """
def work(count):
    for _ in range(count):
        flow = client.start_flow("checkout")
        assert flow.error() is not None
        flow.end()
""",
    "of an agent": """
def work(count):
    for _ in range(count):
        response = client.start_flow("checkout", patient).end()
        assert response.get_flow_end_response() is not None
""",
    "cached": """
keyed = FlowParams(patient.check_timeout, {"user_id": "alice"}, False, "key", ["a", "b"])

async def run(count):
    for _ in range(count):
        async with client.start_flow("checkout", keyed) as flow:
            flow.result_cache(), flow.global_cache("a")
            await flow.set_result_cache(b"v" * 1000, timedelta(hours=1))
        found = await client.cache_lookup("checkout", "key", ["a"])
        assert found.result_cache().get_value()
    await asyncio.sleep(0.01)

def work(count):
    asyncio.run(run(count // 2))
    for _ in range(count // 2):
        client.cache_delete("checkout", global_cache_key="a")
        client.cache_lookup("checkout", "key", ["a"])
""",
    "awaited": """
async def run(count):
    async def one():
        async with client.start_flow("checkout", patient) as flow:
            assert flow.success
    for _ in range(count // 50):
        await asyncio.gather(*[one() for _ in range(50)])

def work(count):
    asyncio.run(run(count))
""",
    "cancelled": """
async def run(count):
    for _ in range(count // 50):
        tasks = [asyncio.create_task(client.start_flow("checkout", patient)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    while client.stats().calls_pending:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)  # the loop looks once more

def work(count):
    asyncio.run(run(count))
""",
}


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("accepted", 1_000_000),
        ("bad arguments", 50_000),
        ("rejected", 50_000),
        ("ended twice", 30_000),
        ("never ended", 50_000),
        ("unreachable", 20_000),
        ("of an agent", 5_000),
        ("cached", 5_000),
        ("awaited", 10_000),
        ("cancelled", 10_000),
    ],
)
def test_memory_does_not_grow(
    path: str, count: int, agent: StartAgent, policy_file: Callable[..., object], closed_port: str
) -> None:
    address = {
        "rejected": lambda: f"local:{policy_file()}",
        "unreachable": lambda: closed_port,
        "of an agent": lambda: agent("-in-flight", 1).address,
        "cached": lambda: agent().address,
        "awaited": lambda: agent().address,
        "cancelled": lambda: agent("-hang").address,
    }.get(path, lambda: "local:")()
    # The allocator that checks everything would take most of the time.
    fast = {"PYTHONMALLOC": "default"}
    done = run_python(MEASURE.replace("WORK", PATHS[path]), address, str(count), env=fast, timeout=10 * DEADLINE)
    assert done.returncode == 0, done.stderr
    resident, blocks = map(int, done.stdout.split())
    assert resident < 3 << 20  # between two measurements lie half of the flows
    assert blocks < 500
