"""Flows in event loops."""

import asyncio
import contextlib
import gc
import os
import resource
import threading
import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Callable, TypeVar

import pytest
from flows import ended
from processes import DEADLINE, FakeAgent

from aperture_sdk import _library
from aperture_sdk._calls import Reader
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import (
    AlreadyEndedError,
    ApertureError,
    CancelledError,
    ClosedError,
    Code,
    NotReadyError,
    UnreachableError,
)
from aperture_sdk.flow import EndResponse, Flow, FlowDecision, FlowStatus, UnreachableReason

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]
T = TypeVar("T")

FOREVER = FlowParams(check_timeout=timedelta(0))
DELAY = 0.3  # of slow agents, in seconds
SLOW = ("-delay", f"{DELAY}s")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop, for as long as it takes unless it hangs."""

    async def bounded() -> T:
        return await asyncio.wait_for(main, DEADLINE)

    return asyncio.run(bounded())


def handles() -> int:
    """Return how many handles are open, after what nobody refers to is gone."""
    gc.collect()
    return _library.load().live_handles()


def descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def settled(client: ApertureClient) -> bool:
    """Wait until no call of the client is pending."""
    deadline = time.monotonic() + DEADLINE
    while client.stats().calls_pending and time.monotonic() < deadline:
        time.sleep(0.01)
    return client.stats().calls_pending == 0


def reader_of(client: ApertureClient) -> Reader:
    """Return what looks for completions of a client in the running loop."""
    reader = client._queue._readers[asyncio.get_running_loop()]()
    assert reader is not None
    return reader


class Ticker:
    """Counts how often an event loop comes around, and the longest that it took."""

    def __init__(self) -> None:
        self.ticks = 0
        self.longest = 0.0

    async def __aenter__(self) -> "Ticker":
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def _tick(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.monotonic() - before)
            self.ticks += 1

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def test_await_does_not_block_the_loop(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(*SLOW, "-in-flight", 1, "-flow-end-delay", f"{DELAY}s"))

    async def main() -> None:
        async with Ticker() as ticker:
            flow = await client.start_flow("checkout", FOREVER)
            assert ticker.ticks > 10
            assert flow.should_run()
            assert flow.decision is FlowDecision.Accepted
            ticks = ticker.ticks
            response = await flow.end()
            assert ticker.ticks > ticks + 10
            assert response.get_error() is None
            assert response.flow_end_response is not None
        assert ticker.longest < DELAY

    run(main())


def test_without_await_the_first_use_waits(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(*SLOW, "-in-flight", 1, "-flow-end-delay", f"{DELAY}s"))

    async def main() -> None:
        started = time.monotonic()
        flow = client.start_flow(control_point="checkout", params=FOREVER)
        assert repr(flow) == "<Flow pending>"
        assert time.monotonic() - started < DELAY
        assert flow.should_run()
        assert time.monotonic() - started >= DELAY
        flow.set_status(FlowStatus.Error)
        response = flow.end()
        assert repr(response) == "<EndResponse pending>"
        assert response.get_error() is None
        assert time.monotonic() - started >= 2 * DELAY
        assert response.get_flow_end_response() is not None
        assert await flow is flow
        assert await response is response

    run(main())


def test_every_use_of_a_pending_flow_waits(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-decision", "reject", "-wait-time", "2s"))

    async def main() -> None:
        uses: list[tuple[Callable[[Flow], object], object]] = [
            (lambda flow: flow.success, True),
            (lambda flow: flow.decision, FlowDecision.Rejected),
            (lambda flow: flow.should_run(), False),
            (lambda flow: flow.http_response_code(), 429),
            (lambda flow: flow.retry_after(), timedelta(seconds=2)),
            (lambda flow: flow.error(), None),
            (lambda flow: flow.set_status(FlowStatus.Error), None),
            (lambda flow: flow.end().get_error(), None),
        ]
        for use, expected in uses:
            flow = client.start_flow("checkout", FOREVER)
            assert use(flow) == expected
            flow.end()

    run(main())


def test_a_flow_that_is_decided_in_process_needs_no_waiting(limited: ApertureClient) -> None:
    async def main() -> None:
        before = descriptors()
        params = FlowParams(explicit_labels={"user_id": "alice"})
        decisions = [ended(await limited.start_flow("checkout", params)).should_run() for _ in range(4)]
        assert decisions == [True, True, True, False]
        await limited.wait_ready(1)
        assert descriptors() == before

    run(main())


def test_asyncio_can_do_everything_with_a_flow(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "20ms", "-in-flight", 1))

    def start() -> Flow:
        return client.start_flow("checkout", FOREVER)

    async def main() -> None:
        assert ended(await start()).success
        assert ended(await asyncio.wait_for(start(), DEADLINE)).success
        assert all(ended(flow).success for flow in await asyncio.gather(*[start() for _ in range(50)]))
        assert ended(await asyncio.shield(start())).success
        assert ended(await asyncio.create_task(start())).success
        assert ended(await asyncio.ensure_future(start())).success
        done, pending = await asyncio.wait([asyncio.create_task(start()) for _ in range(3)])
        assert all(ended(task.result()).success for task in done)
        assert not pending
        for completed in asyncio.as_completed([start(), start()]):
            assert ended(await completed).success
        response = await asyncio.create_task((await start()).end())
        assert response.flow_end_response is not None
        if hasattr(asyncio, "TaskGroup"):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(start()) for _ in range(3)]
            assert all(ended(task.result()).success for task in tasks)

    run(main())


def test_a_flow_can_be_awaited_again_and_by_several_at_once(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "50ms"))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)

        async def wait() -> Flow:
            return await flow

        results = await asyncio.gather(
            wait(), wait(), asyncio.wait_for(flow, DEADLINE), asyncio.create_task(flow), asyncio.shield(flow)
        )
        assert all(result is flow for result in results)
        assert await flow is flow
        assert await asyncio.wait_for(flow, DEADLINE) is flow
        flow.end()

    run(main())


def test_a_task_that_waits_can_be_shown(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "50ms"))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        task = asyncio.create_task(flow)
        await asyncio.sleep(0)
        assert "Task pending" in repr(task)
        await task
        flow.end()

    run(main())


def test_cancelling_a_task_ends_its_check_at_the_agent(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-hang")
    client = connect(fake)
    before = handles()

    async def main() -> None:
        task = asyncio.ensure_future(client.start_flow("checkout", FOREVER))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.start_flow("checkout", FOREVER), 0.1)
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)  # the loop looks once more

    run(main())
    assert handles() == before
    client.close()
    assert fake.report()["cancelled_count"] == 2


def test_a_cancelled_flow_says_so_and_can_be_ended(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(flow, 0.05)
        with pytest.raises(CancelledError):
            flow.should_run()
        with pytest.raises(CancelledError):
            await flow
        assert isinstance(flow.error(), CancelledError)
        assert isinstance(flow.end().get_error(), CancelledError)
        assert repr(flow) == "<Flow cancelled>"
        with flow:
            pass

    run(main())


def test_a_shielded_flow_goes_on(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(*SLOW))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(flow), 0.05)
        assert (await flow).decision is FlowDecision.Accepted
        flow.end()

    run(main())


def test_a_flow_that_others_wait_for_is_not_cancelled(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(*SLOW))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        patient = asyncio.create_task(flow)
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(flow, 0.02)
        assert [len(futures) for futures in reader_of(client).waiting.values()] == [1]  # no trace of the impatient
        assert (await patient).decision is FlowDecision.Accepted
        flow.end()

    run(main())


def test_a_flow_that_is_decided_while_its_task_is_cancelled_is_ended(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 1))
    before = handles()

    async def main() -> None:
        for wait in range(100):
            task = asyncio.create_task(client.start_flow("checkout", FOREVER))
            await asyncio.sleep(wait * 0.00002)  # around the time that an answer takes
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                (await task).end()
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

    run(main())
    # A flow that was decided is ended, so that its tokens go back, whoever was too late for it.
    deadline = time.monotonic() + DEADLINE
    while client.stats().flows_ended < 100 and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    stats = client.stats()
    assert stats.flows_accepted > 0
    assert stats.flows_ended == stats.flows_accepted + stats.flows_unreachable
    client.close()
    assert handles() < before


def test_flows_and_ends_that_nobody_keeps_leave_nothing(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1, "-flow-end-delay", "20ms")
    client = connect(fake)
    before = handles()

    async def main() -> None:
        for _ in range(20):
            client.start_flow("checkout", FOREVER)  # forgotten at once, so cancelled
            flow = await client.start_flow("checkout", FOREVER)
            flow.end()
            del flow
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

    run(main())
    assert handles() == before
    client.close()
    assert fake.report()["flow_end_count"] >= 20


def test_a_flow_that_is_forgotten_is_cancelled_at_the_agent(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-hang")
    client = connect(fake)

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        await asyncio.sleep(0.1)
        del flow
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)

    run(main())
    assert fake.report()["cancelled_count"] == 1


def test_async_with_ends_the_flow_and_passes_exceptions_on(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)

    async def main() -> None:
        async with client.start_flow("checkout", FOREVER) as flow:
            assert flow.should_run()
        async with await client.start_flow("checkout", FOREVER) as flow:
            assert flow.should_run()
        with await client.start_flow("checkout", FOREVER) as flow:
            assert flow.should_run()
        with pytest.raises(KeyError):
            async with client.start_flow("checkout", FOREVER) as flow:
                raise KeyError
        with pytest.raises(KeyError), await client.start_flow("checkout", FOREVER) as flow:
            raise KeyError
        assert isinstance((await flow.end()).get_error(), AlreadyEndedError)
        assert await (await client.start_flow("checkout", FOREVER)).end()

    run(main())
    client.close()
    report = fake.report()
    assert report["flow_end_count"] == 6
    assert [span["attributes"]["aperture.flow.status"] for span in report["spans"]] == [
        "OK",
        "OK",
        "OK",
        "Error",
        "Error",
        "OK",
    ]


def test_a_cancelled_end_goes_on(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1, "-flow-end-delay", "200ms")
    client = connect(fake)

    async def main() -> None:
        flow = await client.start_flow("checkout", FOREVER)
        response: EndResponse = flow.end()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(response, 0.02)
        assert (await response).get_error() is None
        assert response.flow_end_response is not None

    run(main())


def test_an_agent_that_is_down_lets_flows_run(closed_port: str) -> None:
    async def main() -> None:
        async with ApertureClient.new_client(closed_port, insecure=True) as client:
            with pytest.raises(NotReadyError, match="connection refused"):
                await client.wait_ready(0.3)
            flow = await client.start_flow("checkout")
            assert flow.should_run()
            assert not flow.success
            assert isinstance(flow.error(), UnreachableError)
            assert (await flow.end()).get_error() is None
            refused = await client.start_flow("checkout", FlowParams(ramp_mode=True))
            assert not ended(refused).should_run()

    run(main())


def test_more_calls_than_may_be_pending_fail_open_at_once(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"), max_pending_calls=2)

    async def main() -> None:
        waiting = [asyncio.ensure_future(client.start_flow("checkout", FOREVER)) for _ in range(2)]
        flow = await client.start_flow("checkout", FOREVER)
        assert flow.should_run()
        assert ended(flow).unreachable_reason is UnreachableReason.OVERLOADED
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(main())


def test_wait_ready_can_be_cancelled(closed_port: str) -> None:
    async def main() -> None:
        async with ApertureClient.new_client(closed_port, insecure=True) as client:
            async with Ticker() as ticker:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.wait_ready(DEADLINE), 0.1)
                assert ticker.ticks > 3
            while client.stats().calls_pending:
                await asyncio.sleep(0.01)

    run(main())


def test_wait_ready_that_nobody_awaits_is_noticed(closed_port: str) -> None:
    async def main() -> None:
        async with ApertureClient.new_client(closed_port, insecure=True) as client:
            with pytest.warns(RuntimeWarning, match="never awaited"):
                client.wait_ready(DEADLINE)

    run(main())


def test_close_is_awaited_without_blocking_the_loop(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-export-delay", f"{DELAY}s")

    async def main() -> None:
        client = ApertureClient.new_client(fake.address, insecure=True)
        await client.wait_ready(DEADLINE)
        await (await client.start_flow("checkout", FOREVER)).end()
        async with Ticker() as ticker:
            await asyncio.gather(client.close(), client.close())
            assert ticker.ticks > 10
        await client.close()
        with pytest.raises(ClosedError):
            await client.start_flow("checkout")

    run(main())
    assert fake.report()["span_count"] == 1


def test_close_ends_flows_that_are_awaited(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"))

    async def main() -> None:
        tasks = [asyncio.create_task(client.start_flow("checkout", FOREVER)) for _ in range(10)]
        await asyncio.sleep(0.05)
        await client.close()
        for flow in await asyncio.gather(*tasks):
            assert flow.unreachable_reason is UnreachableReason.CLOSED
            assert flow.should_run()
            await flow.end()

    run(main())


def test_a_close_in_another_thread_ends_flows_that_are_awaited(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"))

    async def main() -> None:
        tasks = [asyncio.create_task(client.start_flow("checkout", FOREVER)) for _ in range(10)]
        await asyncio.sleep(0.05)
        await asyncio.get_running_loop().run_in_executor(None, lambda: client.close() and None)
        for flow in await asyncio.gather(*tasks):
            assert flow.unreachable_reason is UnreachableReason.CLOSED
            await flow.end()

    run(main())


def test_a_loop_looks_again_after_it_has_stopped_to_look(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "20ms"))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        waiting = asyncio.create_task(flow)
        await asyncio.sleep(0)
        reader = reader_of(client)
        assert flow.should_run()  # takes the completion; the task has not gone on yet
        reader._ready()  # a wake-up when nothing is pending in this loop
        assert reader.removed
        assert ended(await client.start_flow("checkout", FOREVER)).success
        assert reader_of(client) is not reader
        ended(await waiting)

    run(main())


def test_an_interrupt_loses_no_completion_that_was_taken(
    agent: StartAgent, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(agent("-delay", "20ms"))
    dispatch = client._queue.dispatch
    interrupts = 0

    def interrupted(completion: Any) -> None:
        nonlocal interrupts
        if interrupts == 0:
            interrupts += 1
            raise KeyboardInterrupt
        dispatch(completion)

    monkeypatch.setattr(client._queue, "dispatch", interrupted)

    async def main() -> None:
        nonlocal interrupts
        flow = client.start_flow("checkout", FOREVER)
        with pytest.raises(KeyboardInterrupt):
            flow.should_run()
        assert flow._call is not None
        assert flow._call.done
        assert ended(flow).should_run()

        interrupts = 0
        flow = client.start_flow("checkout", FOREVER)
        while client.stats().calls_pending:
            time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            reader_of(client)._ready()
        assert flow._call is not None
        assert flow._call.done
        assert ended(flow).should_run()

    run(main())


def test_several_loops_share_a_client(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "5ms", "-in-flight", 1))
    before = descriptors()
    finished: list[int] = []

    async def main() -> int:
        async def one() -> None:
            async with client.start_flow("checkout", FOREVER) as flow:
                assert flow.success
                await asyncio.sleep(0)

        count = 0
        for _ in range(10):
            await asyncio.gather(*[one() for _ in range(20)])
            count += 20
        return count

    threads = [threading.Thread(target=lambda: finished.append(run(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):  # beside threads without a loop
        client.start_flow("checkout", FOREVER).end()
    for thread in threads:
        thread.join()
    assert finished == [200] * 4
    assert client.stats().flows_ended == 850
    client.close()
    gc.collect()
    assert descriptors() < before


def test_a_flow_can_be_awaited_in_another_loop(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "100ms"))

    async def begin() -> Flow:
        return client.start_flow("checkout", FOREVER)

    async def finish(flow: Flow) -> None:
        assert (await flow).success
        await flow.end()

    loop = asyncio.new_event_loop()
    flow = loop.run_until_complete(begin())
    assert repr(flow) == "<Flow pending>"
    run(finish(flow))  # while the first loop stands still
    loop.run_until_complete(finish(loop.run_until_complete(begin())))
    loop.close()
    assert client.stats().flows_ended == 2


def test_a_flow_of_a_loop_can_be_used_in_a_thread(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(*SLOW))

    async def main() -> None:
        flow = client.start_flow("checkout", FOREVER)
        waiting = asyncio.create_task(flow)
        in_thread = asyncio.get_running_loop().run_in_executor(None, flow.should_run)
        assert await in_thread
        assert await waiting is flow
        await flow.end()

    run(main())


def test_a_loop_that_is_closed_meanwhile_leaves_nothing(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"))
    before = handles()
    files = descriptors()
    for _ in range(20):
        loop = asyncio.new_event_loop()
        flow = loop.run_until_complete(_start(client))
        task = loop.create_task(_wait(flow))
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task, flow, loop
        gc.collect()
    assert settled(client)
    assert descriptors() <= files + 3  # the pipe of the client, and at most one loop's end of it
    # What was cancelled is taken by the next loop that looks.
    run(_end(client))
    assert handles() == before


async def _start(client: ApertureClient) -> Flow:
    return client.start_flow("checkout", FOREVER)


async def _wait(flow: Flow) -> None:
    ended(await flow)


async def _end(client: ApertureClient) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.start_flow("checkout", FOREVER), 0.05)
    while client.stats().calls_pending:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


def test_a_loop_that_stands_still_does_not_hold_up_another(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "10ms"))
    still = asyncio.new_event_loop()
    waiting = still.create_task(_wait(still.run_until_complete(_start(client))))
    still.run_until_complete(asyncio.sleep(0.001))

    async def main() -> None:
        for _ in range(10):
            assert ended(await client.start_flow("checkout", FOREVER)).success

    run(main())
    still.run_until_complete(waiting)  # another loop took its completion, and passed it on
    still.close()


def test_an_idle_client_keeps_no_loop_busy_and_is_collected(agent: StartAgent) -> None:
    fake = agent()

    async def main() -> None:
        client = ApertureClient.new_client(fake.address, insecure=True)
        await client.wait_ready(DEADLINE)
        await (await client.start_flow("checkout", FOREVER)).end()
        wakeups = 0
        select = asyncio.get_running_loop()._selector.select  # type: ignore[attr-defined]

        def count(timeout: "float | None") -> Any:
            nonlocal wakeups
            wakeups += 1
            return select(timeout)

        asyncio.get_running_loop()._selector.select = count  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        assert wakeups < 5
        files = descriptors()
        with pytest.warns(ResourceWarning, match="unclosed"):
            del client
            gc.collect()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert descriptors() < files

    run(main())


def test_no_descriptor_left_is_an_error_and_no_crash(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent())

    async def main() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)  # the lowest number, which the next descriptor would get
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(ApertureError) as raised:
                await client.start_flow("checkout", FOREVER)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert raised.value.code is Code.ERROR_RESOURCE_EXHAUSTED
        assert ended(await client.start_flow("checkout", FOREVER)).success
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)

    run(main())


def test_the_handles_are_those_of_the_library() -> None:
    assert handles() == 0
