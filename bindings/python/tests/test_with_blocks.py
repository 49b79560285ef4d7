"""A with block ends its flow whatever leaves it, says so when it failed, and swallows nothing."""

import asyncio
import gc
from datetime import timedelta
from typing import Callable

import pytest
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import Flow, FlowStatus

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = FlowParams(timedelta(seconds=DEADLINE))


class Unusual(BaseException):
    pass


EXCEPTIONS = (ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, StopIteration, Unusual)


def leave(flow: Flow, error: type[BaseException]) -> None:
    assert flow.should_run()
    flow.set_status(FlowStatus.OK)  # what leaves the block says more
    raise error("left")


def statuses(agent: FakeAgent) -> list[str]:
    """Return the status of each flow that ended, each of which has given back what it held."""
    report = agent.report()
    assert report["flow_end_count"] == report["check_count"]
    return [span["attributes"]["aperture.flow.status"] for span in report["spans"]]


@pytest.mark.parametrize("error", EXCEPTIONS)
def test_a_with_block_lets_every_exception_out(agent: StartAgent, connect: Connect, error: type[BaseException]) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)
    with pytest.raises(error, match="left"), client.start_flow("checkout", PATIENT) as flow:
        leave(flow, error)
    with client.start_flow("checkout", PATIENT) as flow:
        pass
    with client.start_flow("checkout", PATIENT) as flow:
        flow.set_status(FlowStatus.Error)
    assert client.stats().flows_never_ended == 0
    client.close()
    assert statuses(fake) == ["Error", "OK", "Error"]


@pytest.mark.parametrize("error", [error for error in EXCEPTIONS if error is not StopIteration])
def test_blocks_of_coroutines_let_every_exception_out(
    agent: StartAgent, connect: Connect, error: type[BaseException]
) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)

    async def asynchronous() -> None:
        async with client.start_flow("checkout", PATIENT) as flow:
            leave(flow, error)

    async def awaited() -> None:
        async with await client.start_flow("checkout", PATIENT) as flow:
            leave(flow, error)

    async def plain() -> None:
        with await client.start_flow("checkout", PATIENT) as flow:
            leave(flow, error)

    async def main() -> None:
        for block in (asynchronous, awaited, plain):
            try:
                await block()
            except BaseException as raised:
                assert type(raised) is error
                assert str(raised) == "left"
            else:
                raise AssertionError("the exception was swallowed")

    asyncio.run(main())
    gc.collect()
    client.close()
    assert statuses(fake) == ["Error"] * 3


def test_a_cancelled_task_ends_the_flow_of_its_block(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1, "-flow-end-delay", "100ms")
    client = connect(fake)

    async def work() -> None:
        async with client.start_flow("checkout", PATIENT):
            await asyncio.sleep(DEADLINE)

    async def main() -> None:
        tasks = [asyncio.create_task(work()) for _ in range(2)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.02)
        tasks[0].cancel()  # also while it waits for the end of the flow
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError)

    asyncio.run(main())
    client.close()
    assert statuses(fake) == ["Error"] * 2


def test_a_block_of_a_client_lets_exceptions_out(agent: StartAgent) -> None:
    fake = agent()

    async def main() -> None:
        async with ApertureClient.new_client(fake.address, insecure=True):
            raise Unusual("left")

    with pytest.raises(Unusual, match="left"), ApertureClient.new_client(fake.address, insecure=True):
        raise Unusual("left")
    with pytest.raises(Unusual, match="left"):
        asyncio.run(main())
