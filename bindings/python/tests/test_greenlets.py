"""Flows on greenlets, which share one C stack and take turns on it, and in programs that gevent has patched."""

from datetime import timedelta
from typing import Callable

import greenlet  # type: ignore[import-untyped]
from processes import FakeAgent, run_python

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowStatus

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

GREENLETS = 100
FLOWS = 50


def take_turns(client: ApertureClient, flows: int) -> None:
    """Run flows on many greenlets, each of which is left in the middle of every flow."""
    done: list[bool] = []

    def work() -> None:
        for number in range(flows):
            switch()
            with client.start_flow("checkout", FlowParams(check_timeout=timedelta(seconds=30))) as flow:
                switch()
                done.append(flow.should_run())
                flow.set_status(FlowStatus.Error if number % 2 else FlowStatus.OK)
                switch()
                assert flow.end().get_error() is None

    def switch() -> None:
        main.switch()

    main = greenlet.getcurrent()
    running = [greenlet.greenlet(work) for _ in range(GREENLETS)]
    while running:
        for one in running:
            one.switch()
        running = [one for one in running if not one.dead]
    assert done == [True] * (GREENLETS * flows)
    assert client.stats().flows_ended == GREENLETS * flows


def test_greenlets_take_turns_in_flows(open_client: ApertureClient) -> None:
    take_turns(open_client, FLOWS)


def test_greenlets_take_turns_in_flows_of_an_agent(agent: StartAgent, connect: Connect) -> None:
    take_turns(connect(agent()), 5)


def test_a_program_that_gevent_has_patched(agent: StartAgent) -> None:
    """Flows work there. A call that waits for the agent blocks all greenlets meanwhile, like any call of C."""
    code = """
from gevent import monkey
monkey.patch_all()
import sys, threading
from datetime import timedelta
import gevent, gevent.threadpool
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams

params = FlowParams(check_timeout=timedelta(seconds=30))
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
ran = []

def work():
    for _ in range(10):
        with client.start_flow("checkout", params) as flow:
            gevent.sleep(0)
            ran.append(flow.should_run() and flow.success)

def work_in_a_thread():
    flow = client.start_flow("checkout", params)
    assert flow.end().get_error() is None
    return flow.success

gevent.joinall([gevent.spawn(work) for _ in range(20)], raise_error=True)
threads = [threading.Thread(target=work) for _ in range(5)]  # greenlets too
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# A wait that must not block the other greenlets belongs into a thread of the hub's pool.
ran += [gevent.get_hub().threadpool.apply(work_in_a_thread) for _ in range(20)]
assert ran == [True] * 270, ran
client.close(30)
print(_library.load().live_handles())
"""
    fake = agent("-in-flight", 1)
    done = run_python(code, fake.address)
    assert (done.stdout, done.returncode) == ("0\n", 0), done.stderr
    report = fake.report()
    assert (report["check_count"], report["flow_end_count"], report["span_count"]) == (270, 270, 270)
