"""Forked children: what their parent has opened works there too, and its own does not notice."""

import asyncio
import concurrent.futures
import ctypes
import gc
import multiprocessing
import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Callable

import pytest
from children import fork, in_child, join
from flows import ended
from processes import DEADLINE, FakeAgent, run_python

from aperture_sdk import _calls, _library
from aperture_sdk import client as aperture_client
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ApertureError, ClosedError, Code, ForkedError, PolicyError, UnreachableError
from aperture_sdk.flow import Flow, FlowDecision, FlowStatus, UnreachableReason

# Python 3.12 and newer warn of every fork in a process with threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = timedelta(seconds=DEADLINE)
LONG = FlowParams(check_timeout=PATIENT)


def start(client: ApertureClient, user: str = "alice") -> Flow:
    return client.start_flow("checkout", FlowParams(explicit_labels={"user_id": user}, check_timeout=PATIENT))


def decisions(client: ApertureClient, count: int = 4) -> list[bool]:
    """Start and end so many flows, and return which of them ran."""
    ran = []
    for _ in range(count):
        flow = start(client)
        ran.append(flow.should_run())
        assert flow.success, flow.error()
        assert flow.end().get_error() is None
    return ran


def test_a_client_of_the_parent_works_in_a_child(limited: ApertureClient) -> None:
    def child() -> None:
        assert limited.stats().flows_accepted == 0
        assert decisions(limited) == [True, True, True, False]
        assert limited.stats()[:2] == (3, 1)
        assert _library.load().live_handles() == 1

    assert decisions(limited, 2) == [True, True]
    in_child(child)
    assert decisions(limited, 2) == [True, False]
    in_child(child)
    assert limited.stats()[:2] == (3, 1)


def test_the_first_use_in_a_child_may_be_any(limited: ApertureClient) -> None:
    def ready() -> None:
        limited.wait_ready(5)
        assert decisions(limited) == [True, True, True, False]

    async def main() -> None:
        async with limited:
            await limited.wait_ready(5)
            async with start(limited) as flow:
                assert flow.should_run()

    in_child(ready)
    in_child(lambda: asyncio.run(main()))
    in_child(limited.close)
    in_child(limited.stats)


def test_the_options_are_kept_as_they_were_given(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake, api_key="secret-1", user_agent="shop/1.0")
    assert "secret-1" not in repr(client) + repr(vars(client)) + repr(client._options.structure)

    def child() -> None:
        start(client).end()
        client.close()

    in_child(child)
    start(client).end()
    client.close()
    report = fake.report()
    assert report["check_count"] == 2
    assert report["span_count"] == 2
    assert report["api_keys"] == ["secret-1"]
    assert all(name.startswith("shop/1.0") for name in report["user_agents"])


def test_forks_while_threads_run_flows(agent: StartAgent, connect: Connect, open_client: ApertureClient) -> None:
    fake = agent()
    client = connect(fake)
    stopped = threading.Event()
    started = [0] * 4
    failed: list[object] = []

    def hammer(number: int) -> None:
        while not stopped.is_set():
            with start(client) as flow:
                started[number] += 1
                if not flow.success:
                    failed.append(flow.error())
            open_client.start_flow("checkout").end()

    def child() -> None:
        assert decisions(client, 2) == [True, True]
        assert decisions(open_client, 2) == [True, True]
        assert _library.load().live_handles() == 2

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(50):
            in_child(child)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    assert failed == []
    assert client.stats().flows_accepted == sum(started)
    client.close()
    report = fake.report()
    assert report["check_count"] == sum(started) + 100


def test_forks_of_forks(limited: ApertureClient) -> None:
    def descend(generations: int) -> None:
        assert decisions(limited) == [True, True, True, False]
        if generations:
            in_child(lambda: descend(generations - 1))
        assert decisions(limited, 1) == [False]

    descend(20)


def test_threads_of_a_child_share_what_the_first_of_them_makes(limited: ApertureClient) -> None:
    def child() -> None:
        ran: list[bool] = []
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            ran.extend(decisions(limited, 1))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ran) == [False] * 5 + [True] * 3
        assert limited.stats()[:2] == (3, 5)
        gc.collect()
        assert _library.load().live_handles() == 1

    in_child(child)


def test_a_fork_in_a_thread(limited: ApertureClient) -> None:
    failed: list[BaseException] = []

    def work() -> None:
        try:
            in_child(lambda: decisions(limited))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []


def test_locks_that_the_parent_holds_are_free_in_a_child(limited: ApertureClient) -> None:
    """Another thread holds every lock of the package at the moment of the fork."""
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with limited._queue.condition, limited._lock.held(), _library._lock.held():
            held.set()
            done.wait(DEADLINE)

    async def pending() -> None:
        await limited.close()

    def child() -> None:
        ApertureClient.new_client(address="local:").close()
        assert decisions(limited) == [True, True, True, False]
        asyncio.run(pending())

    flow = start(limited)
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(DEADLINE)
    try:
        in_child(child)
        in_child(limited.close)
        in_child(lambda: flow.end().get_error())
        in_child(child, how=fork_without_hooks)
    finally:
        done.set()
        thread.join()
    flow.end()


def test_a_pending_flow_whose_lock_the_parent_holds(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "400ms"))
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with client._queue.condition:
            held.set()
            done.wait(DEADLINE)

    async def main() -> Flow:
        return client.start_flow("checkout", LONG)

    def child() -> None:
        with pytest.raises(ForkedError):
            flow.should_run()
        assert isinstance(flow.end().get_error(), ForkedError)

    flow = asyncio.run(main())
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(DEADLINE)
    try:
        in_child(child)
        in_child(child, how=fork_without_hooks)
    finally:
        done.set()
        thread.join()
    assert ended(flow).should_run()


def test_a_flow_of_the_parent_can_be_read_in_a_child(limited: ApertureClient) -> None:
    decisions(limited, 2)
    accepted, rejected = start(limited), start(limited)

    def child() -> None:
        assert accepted.should_run()
        assert not rejected.should_run()
        assert rejected.decision is FlowDecision.Rejected
        assert rejected.http_response_code() == 429
        assert rejected.error() is None
        for flow in (accepted, rejected):
            with pytest.raises(ForkedError, match="forked") as raised:
                flow.set_status(FlowStatus.Error)
            assert isinstance(raised.value, ApertureError)
            assert raised.value.code is Code.ERROR_FORKED
            assert isinstance(flow.end().get_error(), ForkedError)
            assert flow.end().get_flow_end_response() is None
            assert flow.end().get_error() is not None

    in_child(child)
    in_child(child, how=fork_without_hooks)
    for flow in (accepted, rejected):
        flow.set_status(FlowStatus.OK)
        assert flow.end().get_error() is None
    assert limited.stats().flows_ended == 4


def test_a_with_block_that_began_in_the_parent_ends_in_a_child(limited: ApertureClient) -> None:
    def child() -> None:
        with pytest.raises(KeyError), flow:
            raise KeyError

    with start(limited) as flow:
        in_child(child)
    assert limited.stats().flows_ended == 1


def test_why_a_flow_of_the_parent_is_undecided(closed_port: str) -> None:
    with ApertureClient.new_client(address=closed_port, insecure=True) as client, client.start_flow("x") as flow:

        def child() -> None:
            error = flow.error()
            assert isinstance(error, UnreachableError)
            assert error.reason is UnreachableReason.UNAVAILABLE
            assert flow.should_run()
            assert not ended(client.start_flow("x")).success

        in_child(child)
        assert "refused" in str(flow.error())


def test_what_a_child_forgets_stays_open_in_the_parent(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)
    flows = [start(client)]
    clients = [client]

    def child() -> None:
        nonlocal client
        flows.clear()
        clients.clear()
        del client
        gc.collect()

    for how in (os.fork, fork_without_hooks):
        in_child(child, how=how)
    response = flows[0].end()
    assert response.get_error() is None
    assert response.flow_end_response is not None
    client.close()
    report = fake.report()
    assert (report["check_count"], report["flow_end_count"], report["span_count"]) == (1, 1, 1)


def test_a_child_may_close_the_client(limited: ApertureClient) -> None:
    def close() -> None:
        limited.close()
        limited.close()
        assert limited._closed
        with pytest.raises(ClosedError):
            start(limited)
        with pytest.raises(ClosedError):
            limited.stats()
        assert _library.load().live_handles() == 0

    def use_and_close() -> None:
        decisions(limited)
        close()

    in_child(close)
    in_child(use_and_close)
    assert decisions(limited) == [True, True, True, False]


def test_a_closed_client_is_closed_in_a_child() -> None:
    client = ApertureClient.new_client(address="local:")
    client.close()

    def child() -> None:
        for use in (lambda: client.start_flow("x"), lambda: client.wait_ready(1), client.stats):
            with pytest.raises(ClosedError):
                use()
        client.close()

    in_child(child)


def test_a_fork_in_the_middle_of_a_close(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-export-delay", "500ms")
    client = connect(fake)
    start(client).end()

    async def main() -> None:
        closing = client.close()

        async def wait() -> None:
            await closing

        def child() -> None:
            with pytest.raises(ClosedError):
                start(client)
            client.close()
            asyncio.run(wait())
            assert client._closed

        in_child(child)
        in_child(child, how=fork_without_hooks)
        await closing

    asyncio.run(main())
    assert fake.report()["span_count"] == 1


def test_a_policy_that_is_gone_is_an_error_of_the_child(policy_file: Callable[..., Path]) -> None:
    path = policy_file()
    with ApertureClient.new_client(address=f"local:{path}") as client:
        path.unlink()

        def child() -> None:
            for _ in range(2):
                with pytest.raises(PolicyError, match=r"policy\.yaml"):
                    start(client)
            policy_file()
            assert decisions(client) == [True, True, True, False]

        in_child(child)
        assert start(client).end().get_error() is None


# ---- asyncio ----


def test_calls_of_the_parent_are_over_in_a_child(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "400ms", "-in-flight", 1, "-flow-end-delay", "400ms"))

    async def main() -> None:
        ended = (await start(client)).end()
        unused, awaited = start(client), start(client)
        waiting = asyncio.create_task(awaited)
        await asyncio.sleep(0.01)

        async def child_in_a_loop() -> None:
            for flow in (unused, awaited):
                with pytest.raises(ForkedError):
                    await flow

        def child() -> None:
            for flow in (unused, awaited):
                for use in (flow.should_run, lambda flow=flow: flow.decision):
                    with pytest.raises(ForkedError):
                        use()
                assert isinstance(flow.error(), ForkedError)
                assert isinstance(flow.end().get_error(), ForkedError)
            assert isinstance(ended.get_error(), ForkedError)
            asyncio.run(child_in_a_loop())
            with start(client) as flow:
                assert flow.success

        in_child(child)
        in_child(child, how=fork_without_hooks)
        assert (await waiting).decision is FlowDecision.Accepted
        assert (await unused).decision is FlowDecision.Accepted
        assert (await ended).get_error() is None
        for flow in (unused, awaited):
            assert (await flow.end()).get_error() is None

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_decision_that_nobody_has_taken_is_not_made_up_in_a_child(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-decision", "reject"))

    async def main() -> None:
        flow = client.start_flow("checkout", LONG)
        ended(await start(client))  # the loop takes both completions
        while client.stats().calls_pending:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)

        def child() -> None:
            with pytest.raises(ForkedError):
                flow.should_run()

        in_child(child)
        assert not ended(flow).should_run()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_waiting_for_the_agent_is_over_in_a_child(closed_port: str) -> None:
    client = ApertureClient.new_client(address=closed_port, insecure=True)

    async def main() -> None:
        ready = client.wait_ready(60)

        async def child() -> None:
            with pytest.raises(ForkedError):
                await ready

        in_child(lambda: asyncio.run(child()))
        closing = client.close()
        with pytest.raises(ClosedError):
            await ready
        await closing

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


def test_a_task_that_waits_in_an_inherited_loop_is_woken(agent: StartAgent, connect: Connect) -> None:
    """The loop is the same object in both, with the same epoll object of the kernel."""
    client = connect(agent("-delay", "400ms"))
    loop = asyncio.new_event_loop()

    async def wait() -> str:
        try:
            return ended(await start(client)).decision.name
        except ForkedError:
            return "forked"

    async def begin() -> "asyncio.Task[str]":
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.02)
        return task

    def child() -> None:
        assert loop.run_until_complete(asyncio.wait_for(task, DEADLINE)) == "forked"

    task = loop.run_until_complete(begin())
    in_child(child)
    assert loop.run_until_complete(asyncio.wait_for(task, DEADLINE)) == "Accepted"
    loop.close()


def test_a_child_uses_the_loop_of_its_parent(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "20ms"))
    loop = asyncio.new_event_loop()

    async def one() -> FlowDecision:
        async with start(client) as flow:
            return flow.decision

    def run() -> FlowDecision:
        return loop.run_until_complete(asyncio.wait_for(one(), DEADLINE))

    def child() -> None:
        assert descriptor_is_closed(reader._descriptor)
        for _ in range(3):
            assert run() is FlowDecision.Accepted

    assert run() is FlowDecision.Accepted
    inherited = client._queue._readers[loop]()
    assert inherited is not None
    reader = inherited
    descriptor = reader._descriptor

    def descriptor_is_closed(after: int) -> bool:
        try:
            os.fstat(descriptor)
        except OSError:
            return after == -1
        return False

    in_child(child)
    assert reader._descriptor == descriptor
    for _ in range(3):
        assert run() is FlowDecision.Accepted
    loop.close()


def test_nothing_of_the_parent_is_unregistered_or_read(agent: StartAgent, connect: Connect) -> None:
    """The wake-up that a parent waits for is not taken away by a child that forgets, closes and runs everything."""
    client = connect(agent("-delay", "300ms"))

    async def main() -> None:
        flows = [start(client) for _ in range(20)]

        def child() -> None:
            with pytest.raises(ForkedError):
                flows[0].should_run()
            flows.clear()
            gc.collect()
            decisions(client, 2)
            client.close()
            gc.collect()

        for _ in range(3):
            in_child(child)
        for flow in await asyncio.gather(*flows):
            assert flow.decision is FlowDecision.Accepted
            await flow.end()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


# ---- Other ways to fork ----

_c = ctypes.PyDLL(None)  # it keeps Python's lock, as C programs do that fork around Python


def fork_without_hooks() -> int:
    """Fork as a C program does that knows nothing of Python."""
    child: int = _c.fork()
    return child


def fork_as_uwsgi() -> int:
    """Fork in C, as uWSGI does after it has imported the application: only the child tells Python."""
    child: int = _c.fork()
    if child == 0:
        _c.PyOS_AfterFork_Child()
    return child


@pytest.mark.parametrize("how", [fork_without_hooks, fork_as_uwsgi])
def test_a_fork_in_c(limited: ApertureClient, how: Callable[[], int]) -> None:
    def child() -> None:
        assert decisions(limited) == [True, True, True, False]
        in_child(lambda: decisions(limited), how=how)
        assert decisions(limited, 1) == [False]

    children = [fork(child, how) for _ in range(3)]
    assert decisions(limited) == [True, True, True, False]
    for one in children:
        join(one)


@pytest.fixture
def shared(agent: StartAgent, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAgent]:
    """An agent, and a client of it in the variable that the functions below use."""
    # What workers send at their end must not depend on how busy the machine is.
    monkeypatch.setattr(aperture_client, "_EXIT_NS", DEADLINE * 1_000_000_000)
    fake = agent()
    Worker.client = ApertureClient.new_client(address=fake.address, insecure=True)
    start(Worker.client).end()
    yield fake
    Worker.client.close()


class Worker:
    client: ApertureClient


def work(number: int) -> tuple[int, bool]:
    with start(Worker.client, str(number)) as flow:
        return os.getpid(), flow.success and flow.should_run()


def work_in_a_child_of_its_own(number: int) -> tuple[int, bool]:
    in_child(lambda: work(number))
    return work(number)


def check(results: list[tuple[int, bool]]) -> None:
    assert os.getpid() not in {process for process, _ in results}
    assert all(ran for _, ran in results)


def test_a_pool_of_multiprocessing(shared: FakeAgent) -> None:
    with multiprocessing.get_context("fork").Pool(3) as pool:
        results = pool.map(work, range(30), chunksize=1)
        pool.close()
        pool.join()
    check(results)
    Worker.client.close()
    report = shared.report()
    assert report["check_count"] == 31
    assert report["span_count"] == 31  # workers that end in order have sent everything


def test_processes_of_multiprocessing(shared: FakeAgent) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(number,)) for number in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(DEADLINE)
        assert process.exitcode == 0
    Worker.client.close()
    report = shared.report()
    assert (report["check_count"], report["span_count"]) == (6, 6)


def test_an_executor_of_concurrent_futures(shared: FakeAgent) -> None:
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as executor:
        check(list(executor.map(work, range(20))))
        check(list(executor.map(work_in_a_child_of_its_own, range(10))))
    Worker.client.close()
    assert shared.report()["check_count"] == 41


# ---- The end of a child ----

ENDING = """
import asyncio, os, sys
from datetime import timedelta
import aperture_sdk.client
from aperture_sdk.client import ApertureClient, FlowParams

aperture_sdk.client._EXIT_NS = 30_000_000_000
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
params = FlowParams(check_timeout=timedelta(seconds=30))
flow = client.start_flow("checkout", params)

async def unfinished():
    return [client.start_flow("slow", params) for _ in range(10)]

pending = asyncio.run(unfinished())
child = os.fork()
if child == 0:
    USE
    END
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
flow.end()
for one in pending:
    one.end()
client.close()
"""


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(0)", "del client, flow, pending; sys.exit()"])
@pytest.mark.parametrize("use", ["pass", "client.start_flow('checkout', params).end()"])
def test_a_child_ends_without_a_word(agent: StartAgent, use: str, end: str) -> None:
    """Nobody closes its client, or ends what the parent has begun."""
    fake = agent("-delay", "200ms")
    done = run_python(ENDING.replace("USE", use).replace("END", end), fake.address)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    # A client that the child itself has used is one that it should have closed.
    unclosed = "del client" in end and use != "pass"
    assert ("ResourceWarning: unclosed <ApertureClient" in done.stderr) == unclosed
    assert unclosed or done.stderr == ""
    report = fake.report()
    assert report["check_count"] == 11 + (use != "pass")
    assert report["span_count"] == 11 + (use != "pass" and end != "os._exit(0)")


def test_a_fork_starts_nothing(limited: ApertureClient) -> None:
    def child() -> None:
        assert len(os.listdir("/proc/self/task")) == 1
        assert _library.load().live_handles() == 0
        assert limited._queue.client  # of the parent

    in_child(child)


def test_queues_that_are_gone_are_not_kept() -> None:
    gc.collect()
    before = len(_calls._queues)
    ApertureClient.new_client(address="local:").close()
    gc.collect()
    assert len(_calls._queues) == before
