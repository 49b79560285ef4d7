"""Flows around functions and coroutine functions."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, Callable

import pytest
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import Flow

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = FlowParams(timedelta(seconds=DEADLINE))


class Failure(Exception):
    pass


def statuses(client: ApertureClient, agent: FakeAgent) -> list[str]:
    """Return the status of each flow, all of which were ended and have given back what they held."""
    assert client.stats().flows_never_ended == 0
    client.close()
    report = agent.report()
    assert report["flow_end_count"] == report["check_count"]
    return [span["attributes"]["aperture.flow.status"] for span in report["spans"]]


def test_a_function_stays_a_function_and_has_a_flow(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)

    @client.decorate("checkout", PATIENT)
    def work(first: int, *, second: str) -> "tuple[int, str]":
        """Do the work."""
        if second == "fail":
            raise Failure
        return first, second

    assert not inspect.iscoroutinefunction(work)
    assert (work.__name__, work.__doc__) == ("work", "Do the work.")
    assert list(inspect.signature(work).parameters) == ["first", "second"]
    assert work(1, second="b") == (1, "b")
    with pytest.raises(Failure):
        work(1, second="fail")
    assert statuses(client, fake) == ["OK", "Error"]


def test_a_coroutine_function_stays_one_and_has_a_flow(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1, "-delay", "20ms")
    client = connect(fake)

    @client.decorate("checkout", PATIENT)
    async def work(fail: bool = False) -> int:
        """Do the work."""
        await asyncio.sleep(0)
        if fail:
            raise Failure
        return 1

    assert inspect.iscoroutinefunction(work)
    assert work.__doc__ == "Do the work."

    async def main() -> None:
        assert await work() == 1
        assert await asyncio.gather(*[work() for _ in range(3)]) == [1, 1, 1]
        with pytest.raises(Failure):
            await work(fail=True)

    asyncio.run(main())
    assert statuses(client, fake) == ["OK"] * 4 + ["Error"]


def test_a_cancelled_task_ends_its_flow(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 1)
    client = connect(fake)
    started = 0

    @client.decorate("checkout", PATIENT)
    async def work() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(DEADLINE)

    async def main() -> None:
        task = asyncio.create_task(work())
        while not started:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert statuses(client, fake) == ["Error"]


def test_a_function_that_must_not_run_is_not_called(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-decision", "reject", "-status", "429", "-wait-time", "2s", "-in-flight", 1)
    client = connect(fake)

    def refuse(flow: Flow) -> "tuple[int, object]":
        return flow.http_response_code(), flow.retry_after()

    async def refuse_later(flow: Flow) -> int:
        await asyncio.sleep(0)
        return flow.http_response_code()

    def fail() -> None:
        raise Failure

    def work() -> None:
        raise AssertionError("the function was called")

    async def work_later() -> None:
        raise AssertionError("the coroutine function was called")

    def decorated(function: Any, *on_reject: Any) -> Any:
        return client.decorate("checkout", PATIENT, *on_reject)(function)

    assert decorated(work)() is None
    assert decorated(work, lambda: "refused")() == "refused"
    assert decorated(work, refuse)() == (429, timedelta(seconds=2))
    assert decorated(work, list)() == []
    with pytest.raises(Failure):
        decorated(work, fail)()

    async def main() -> None:
        assert await decorated(work_later)() is None
        assert await decorated(work_later, lambda: "refused")() == "refused"
        assert await decorated(work_later, refuse)() == (429, timedelta(seconds=2))
        assert await decorated(work_later, refuse_later)() == 429
        with pytest.raises(Failure):
            await decorated(work_later, fail)()

    asyncio.run(main())
    assert statuses(client, fake) == ["OK"] * 10  # to refuse is no failure of the work


def test_an_agent_that_is_down_lets_functions_run(closed_port: str) -> None:
    with ApertureClient.new_client(closed_port, insecure=True) as client:
        assert client.decorate("checkout")(lambda: "ran")() == "ran"
        assert client.decorate("checkout", FlowParams(ramp_mode=True))(lambda: "ran")() is None


def test_params_may_depend_on_the_call(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)

    def params(user: str, *, tier: str = "silver") -> FlowParams:
        return FlowParams(PATIENT.check_timeout, {"user_id": user, "tier": tier})

    class Shop:
        @client.decorate("checkout", lambda self, user: params(user))
        def sell(self, user: str) -> str:
            return user

        @staticmethod
        @client.decorate("checkout", params)
        async def sell_later(user: str, *, tier: str = "silver") -> str:
            return user

    assert Shop().sell("alice") == "alice"
    assert asyncio.run(Shop.sell_later("bob", tier="gold")) == "bob"
    assert [check["labels"] for check in fake.report()["checks"]] == [
        {"user_id": "alice", "tier": "silver"},
        {"user_id": "bob", "tier": "gold"},
    ]


def test_params_that_cannot_be_had_start_no_flow(open_client: ApertureClient) -> None:
    def fail() -> FlowParams:
        raise Failure

    with pytest.raises(Failure):
        open_client.decorate("checkout", fail)(lambda: 1)()
    wrong: Any = dict
    with pytest.raises(TypeError, match="params: must be FlowParams, not dict"):
        open_client.decorate("checkout", wrong)(lambda: 1)()
    assert open_client.stats().flows_accepted == 0


def test_a_function_does_not_block_an_event_loop(open_client: ApertureClient) -> None:
    @open_client.decorate("checkout")
    def work() -> int:
        return 1

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"work is no coroutine function.* asyncio\.to_thread"):
            work()
        assert await asyncio.to_thread(work) == 1

    asyncio.run(main())
    assert open_client.stats().flows_ended == 1


class Callable_:
    def __call__(self) -> int:
        return 1


class CoroutineCallable:
    async def __call__(self) -> int:
        return 1


def test_whatever_can_be_called_can_be_decorated(open_client: ApertureClient) -> None:
    async def work(number: int) -> int:
        return number

    decorate = open_client.decorate("checkout")
    assert decorate(Callable_())() == 1
    assert decorate(len)("ab") == 2
    assert decorate(functools.partial(max, 3))(2) == 3
    for function in (decorate(functools.partial(work, 1)), decorate(CoroutineCallable())):
        assert inspect.iscoroutinefunction(function)
        assert asyncio.run(function()) == 1
    assert open_client.stats().flows_ended == 5


def generator() -> Iterator[int]:
    yield 1


async def asynchronous_generator() -> AsyncIterator[int]:
    yield 1


class GeneratorCallable:
    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator, "generator is a generator, whose work is done after its call"),
        (asynchronous_generator, "asynchronous_generator is a generator"),
        (GeneratorCallable(), "GeneratorCallable is a generator"),
        (functools.partial(generator), "partial is a generator"),
        (staticmethod(len), "decorate the function itself, and write @staticmethod above"),
        (classmethod(type), "decorate the function itself, and write @classmethod above"),
        (Failure, "must be given a function, not Failure"),
        (None, "must be given a function, not NoneType"),
    ],
)
def test_what_has_no_flow_around_it_is_refused_at_once(
    open_client: ApertureClient, function: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        open_client.decorate("checkout")(function)


async def reject_later() -> None:
    pass


async def params_later() -> FlowParams:
    return PATIENT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None,), "control_point: must be str, not NoneType"),
        ((len,), "control_point: must be str, not builtin_function_or_method"),
        (("checkout", {}), "params: must be FlowParams, or a function that returns them, not dict"),
        (("checkout", params_later), "params: .* not a coroutine function"),
        (("checkout", None, 1), "on_reject: must be a function, not int"),
        (("checkout", None, lambda one, two: 1), "on_reject: must be a function of no argument, or of the flow"),
        (("checkout", None, reject_later), "on_reject: is a coroutine function, which .*<lambda> cannot await"),
    ],
)
def test_wrong_arguments_are_named_at_once(
    open_client: ApertureClient, arguments: "tuple[Any, ...]", message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        open_client.decorate(*arguments)(lambda: 1)
