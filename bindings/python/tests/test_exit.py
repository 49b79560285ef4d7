"""The end of a process, however it comes: at once, without a word, and after a close with every span sent."""

import sys
import time
from typing import Callable

import pytest
from processes import DEADLINE, FakeAgent, run_python, start_python

StartAgent = Callable[..., FakeAgent]

# An agent that never answers a check, and a client that decides here. Both are open, and nobody closes them.
OPEN = """
import asyncio, atexit, os, sys, threading, time, warnings
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams

warnings.simplefilter("ignore")  # there is one for each client that is not closed
forever = FlowParams(check_timeout=timedelta(0))
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
local = ApertureClient.new_client(address="local:")

def wait():
    client.start_flow("checkout", forever)

def loop():
    while True:
        local.start_flow("checkout").end()

def run_daemons():
    for work in (wait, wait, loop, loop):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.2)

def leave():
    print("leaving", flush=True)

"""

ENDINGS = {
    "the end of main": "leave()",
    "clients that are forgotten": "leave(); del client, local",
    "flows that are kept": "flows = [local.start_flow('checkout') for _ in range(100)]; leave()",
    "SystemExit": "leave(); raise SystemExit(3)",
    "an exception": "leave(); 1 / 0",
    "os._exit": "leave(); os._exit(0)",
    "daemons": "run_daemons(); leave()",
    "daemons and SystemExit": "run_daemons(); leave(); sys.exit(3)",
    "daemons and an exception": "run_daemons(); leave(); 1 / 0",
    "daemons and os._exit": "run_daemons(); leave(); os._exit(0)",
    "daemons and execv": "run_daemons(); leave(); os.execv(sys.executable, [sys.executable, '-c', ''])",
    "daemons that wait, and a close": """
for _ in range(4):
    threading.Thread(target=wait, daemon=True).start()
time.sleep(0.2)
client.close()
local.close()
leave()
""",
    "os._exit in a thread": """
def end():
    leave()
    os._exit(0)
run_daemons()
threading.Thread(target=end).start()
time.sleep(60)
""",
    "execv in a thread": """
def end():
    leave()
    os.execv(sys.executable, [sys.executable, "-c", ""])
run_daemons()
threading.Thread(target=end).start()
time.sleep(60)
""",
    "sys.exit in a thread": """
def end():
    local.start_flow("checkout").end()
    sys.exit(5)
thread = threading.Thread(target=end)
thread.start()
thread.join()
leave()
""",
    "a thread that Python waits for": """
def end():
    time.sleep(0.3)
    local.start_flow("checkout").end()
    leave()
threading.Thread(target=end).start()
""",
    "a client that is used at exit": """
atexit.register(leave)
atexit.register(lambda: local.start_flow("checkout").end())
run_daemons()
""",
    "finalizers": """
class Service:
    def __init__(self):
        self.flow = local.start_flow("checkout")
        self.cycle = self
    def __del__(self, local=local, client=client):
        self.flow.end()
        client.close()
        local.close()
service = Service()
leave()
""",
    "pending calls": """
async def main():
    flows = [client.start_flow("checkout", forever) for _ in range(20)]
    tasks = [asyncio.create_task(flow) for flow in flows]
    await asyncio.sleep(0.05)
    leave()
    raise SystemExit(3)
asyncio.run(main())
""",
    "a loop that nobody closed": """
async def begin():
    return asyncio.create_task(client.start_flow("checkout", forever))
loop = asyncio.new_event_loop()
task = loop.run_until_complete(begin())
loop.run_until_complete(asyncio.sleep(0.05))
leave()
os._exit(0)
""",
    "an event loop in a daemon": """
async def main():
    await asyncio.gather(*[client.start_flow("checkout", forever) for _ in range(20)])
threading.Thread(target=asyncio.run, args=(main(),), daemon=True).start()
time.sleep(0.2)
leave()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_ends_at_once_without_a_close(agent: StartAgent, ending: str) -> None:
    process = start_python(OPEN + ENDINGS[ending], agent("-hang").address)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        left = time.monotonic()
        output, errors = process.communicate(timeout=DEADLINE)
        took = time.monotonic() - left
    finally:
        process.kill()
        process.wait()
    sys.stdout.write(f"{took:.2f} s after its last word\n")  # at most 0.2 s on an idle machine
    assert (line, output) == ("leaving\n", ""), errors
    if "an exception" in ending:
        assert errors.splitlines()[0] == "Traceback (most recent call last):"
        assert errors.splitlines()[-1] == "ZeroDivisionError: division by zero"
        assert errors.count("Traceback") == 1
    else:
        assert errors == ""
    assert process.returncode == {"an exception": 1, "daemons and an exception": 1}.get(
        ending, 3 if "SystemExit" in ENDINGS[ending] or "sys.exit(3)" in ENDINGS[ending] else 0
    )
    assert took < 5


def test_after_a_close_every_span_has_been_sent(agent: StartAgent) -> None:
    """Also when the process is gone the moment after."""
    fake = agent("-in-flight", 1)
    code = """
import asyncio, os, sys, threading
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams
params = FlowParams(check_timeout=timedelta(seconds=30))
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)

def work():
    for _ in range(50):
        client.start_flow("checkout", params).end()

async def work_too():
    for flow in await asyncio.gather(*[client.start_flow("checkout", params) for _ in range(50)]):
        flow.end()

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
asyncio.run(work_too())
for thread in threads:
    thread.join()
client.close(30)
os._exit(0)
"""
    done = run_python(code, fake.address)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    report = fake.report()
    assert (report["check_count"], report["flow_end_count"], report["span_count"]) == (200, 200, 200)


def test_telemetry_is_sent_at_exit_when_nobody_closes_the_client(agent: StartAgent) -> None:
    fake = agent()
    code = """
import sys
from datetime import timedelta
import aperture_sdk.client
from aperture_sdk.client import ApertureClient, FlowParams
aperture_sdk.client._EXIT_NS = 30_000_000_000  # a busy machine needs more than there is time for
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
client.start_flow("checkout", FlowParams(check_timeout=timedelta(seconds=30))).end()
"""
    done = run_python(code, fake.address)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert fake.report()["span_count"] == 1


def test_a_close_that_was_not_awaited_is_finished_at_exit(agent: StartAgent) -> None:
    fake = agent("-export-delay", "300ms")
    code = """
import asyncio, sys
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams

async def main():
    client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
    await client.wait_ready(30)
    flow = await client.start_flow("checkout", FlowParams(check_timeout=timedelta(seconds=30)))
    await flow.end()
    client.close()

asyncio.run(main())
"""
    done = run_python(code, fake.address)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert fake.report()["span_count"] == 1
