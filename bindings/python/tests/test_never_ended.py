"""Flows that nobody ended are noticed, and give back what they hold."""

import asyncio
import gc
import time
import warnings
from datetime import timedelta
from typing import Callable

import pytest
from children import in_child
from processes import DEADLINE, FakeAgent, run_python

from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowStatus

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = FlowParams(timedelta(seconds=DEADLINE))


def test_a_flow_that_is_forgotten_is_ended_as_failed(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 2)
    client = connect(fake)
    flow = client.start_flow("checkout", PATIENT)
    flow.set_status(FlowStatus.OK)
    with pytest.warns(ResourceWarning, match="<Flow Accepted> was never ended"):
        del flow
    flow = client.start_flow("checkout", PATIENT)
    flow.end()
    del flow
    deadline = time.monotonic() + DEADLINE
    while client.stats().flows_ended < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    stats = client.stats()
    assert (stats.flows_ended, stats.flows_never_ended) == (2, 1)
    client.close()
    report = fake.report()
    assert [len(end["request_ids"]) for end in report["flow_ends"]] == [2, 2]
    assert sorted(span["attributes"]["aperture.flow.status"] for span in report["spans"]) == ["Error", "OK"]


def test_a_flow_that_was_decided_in_an_event_loop_is_noticed_too(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent())

    async def main() -> None:
        flow = await client.start_flow("checkout", PATIENT)
        with pytest.warns(ResourceWarning, match="never ended"):
            del flow

    asyncio.run(main())
    assert client.stats().flows_never_ended == 1


def test_a_flow_about_which_nothing_was_decided_is_noticed_too(closed_port: str) -> None:
    with ApertureClient.new_client(closed_port, insecure=True) as client:
        flow = client.start_flow("checkout")
        with pytest.warns(ResourceWarning, match="<Flow Unreachable> was never ended"):
            del flow


def test_a_flow_that_outlived_its_client_is_noticed_too() -> None:
    client = ApertureClient.new_client("local:")
    flow = client.start_flow("checkout")
    client.close()
    with pytest.warns(ResourceWarning, match="never ended"):
        del flow


def test_flows_that_were_ended_or_cancelled_are_forgotten_in_silence(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-obey-labels"))
    hang = FlowParams(timedelta(0), {"fakeagent.answer": "hang"})

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.start_flow("checkout", hang), 0.05)
        task = asyncio.create_task(client.start_flow("checkout", hang))
        task.cancel()  # before its first step
        with pytest.raises(asyncio.CancelledError):
            await task
        client.start_flow("checkout", hang)  # forgotten before it was decided, so cancelled
        with pytest.raises(KeyError):
            async with client.start_flow("checkout", PATIENT):
                raise KeyError
        (await client.start_flow("checkout", PATIENT)).end()
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        with client.start_flow("checkout", PATIENT):
            pass
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert client.stats().flows_never_ended == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_leaves_the_flow_of_its_parent_alone(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)
    held = [client.start_flow("checkout", PATIENT)]

    def child() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            held.clear()
            gc.collect()
        assert caught == []
        assert client.stats().flows_never_ended == 0  # of the child's own client
        client.close()

    in_child(child)
    assert held.pop().end().get_error() is None
    assert client.stats().flows_never_ended == 0
    client.close()
    report = fake.report()
    assert report["flow_end_count"] == 1
    assert [span["attributes"]["aperture.flow.status"] for span in report["spans"]] == ["OK"]


def test_a_warning_that_is_an_error_leaves_no_handle() -> None:
    code = """
import gc
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient
client = ApertureClient.new_client("local:")
client.start_flow("checkout")
gc.collect()
print(_library.load().live_handles(), client.stats().flows_never_ended)
client.close()
"""
    done = run_python("import warnings; warnings.simplefilter('error')" + code)
    assert done.stdout == "1 1\n"
    assert "ResourceWarning: <Flow Accepted> was never ended" in done.stderr
    assert _library.load().live_handles() >= 0
