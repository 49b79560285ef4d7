"""Baggage of OpenTelemetry describes flows, and never stands in their way."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Callable

import pytest
from opentelemetry import baggage, context
from processes import DEADLINE, FakeAgent, run_python

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import InvalidArgumentError
from aperture_sdk.flow import FlowDecision

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = timedelta(seconds=DEADLINE)


@pytest.fixture(autouse=True)
def no_baggage_is_left() -> Iterator[None]:
    token = context.attach(context.Context())
    yield
    context.detach(token)


def carry(**members: Any) -> None:
    """Set baggage for the rest of the test."""
    for key, value in members.items():
        context.attach(baggage.set_baggage(key, value))


def labels_of(agent: FakeAgent) -> list[dict[str, str]]:
    return [check["labels"] or {} for check in agent.report()["checks"]]


def test_baggage_are_labels_that_explicit_labels_override(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    carry(user_id="of a caller", tier="gold", count=3, text="a%20b+c%", name="żółć", bad="\udcff", nothing="")
    for labels in (None, {"user_id": "alice"}):
        client.start_flow("checkout", FlowParams(PATIENT, labels, False, "key", ["g"])).end()
    context.attach(baggage.clear())
    client.start_flow("checkout", FlowParams(PATIENT)).end()
    expected = {"tier": "gold", "count": "3", "text": "a%20b+c%", "name": "żółć", "bad": "\ufffd", "nothing": ""}
    assert labels_of(fake) == [{"user_id": "of a caller", **expected}, {"user_id": "alice", **expected}, {}]


def test_each_task_has_its_own_baggage(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-delay", "20ms")
    client = connect(fake)

    async def one(number: int) -> None:
        carry(number=number)
        await asyncio.sleep(0)
        async with client.start_flow("checkout", FlowParams(PATIENT)):
            pass

    async def main() -> None:
        await asyncio.gather(*[one(number) for number in range(5)])

    asyncio.run(main())
    assert sorted(labels["number"] for labels in labels_of(fake)) == list("01234")


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_member_without_a_text_is_left_out(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    carry(first=1, awkward=Awkward(), last=2)
    client.start_flow("checkout", FlowParams(PATIENT)).end()
    assert labels_of(fake) == [{"first": "1", "last": "2"}]


def test_baggage_that_is_too_large_is_left_out(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    carry(small="1", large="x" * 4_000_000)
    flow = client.start_flow("checkout", FlowParams(PATIENT, {"user_id": "alice"}))
    assert flow.decision is FlowDecision.Accepted
    flow.end()

    async def main() -> None:
        await (await client.start_flow("checkout", FlowParams(PATIENT, {"user_id": "alice"}))).end()

    asyncio.run(main())
    with pytest.raises(InvalidArgumentError, match="control point"):
        client.start_flow("")
    assert labels_of(fake) == [{"user_id": "alice"}] * 2


@pytest.mark.parametrize("members", [RuntimeError, None, [1, 2]])
def test_baggage_that_cannot_be_read_is_left_out(
    open_client: ApertureClient, monkeypatch: pytest.MonkeyPatch, members: Any
) -> None:
    def get_all() -> Any:
        if members is RuntimeError:
            raise RuntimeError("broken")
        return members

    monkeypatch.setattr(baggage, "get_all", get_all)
    open_client.start_flow("checkout").end()


@pytest.mark.parametrize("module", [None, object()])
def test_a_module_that_is_none_is_left_alone(
    open_client: ApertureClient, monkeypatch: pytest.MonkeyPatch, module: Any
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.baggage", module)
    open_client.start_flow("checkout").end()


def test_opentelemetry_is_imported_by_nobody_else() -> None:
    code = """
import sys
from aperture_sdk.client import ApertureClient
client = ApertureClient.new_client("local:")
client.start_flow("checkout").end()
client.close()
print([name for name in sys.modules if "opentelemetry" in name])
"""
    assert run_python(code).stdout == "[]\n"
