"""Attributes of spans, which policies can measure."""

import asyncio
import logging
from datetime import timedelta
from typing import Any, Callable

import pytest
from children import in_child
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ForkedError, InvalidArgumentError

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = FlowParams(timedelta(seconds=DEADLINE))


class Number(float):
    pass


def test_a_span_has_the_attributes_of_its_flow(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    values: dict[str, Any] = {
        "text": "żółć",
        "nothing": "",
        "integer": 3,
        "large": 2**63 - 1,
        "small": -(2**63),
        "number": 1.0,
        "derived": Number(0.5),
        "k" * 256: "x" * 65536,
    }
    with client.start_flow("checkout", PATIENT) as flow:
        flow.set_attribute("integer", "the last value counts")
        for key, value in values.items():
            flow.set_attribute(key, value)
        flow.set_attribute("bad", "\udcff")

    async def main() -> None:
        flow = client.start_flow("checkout", PATIENT)
        flow.set_attribute("pending", 1)
        await flow.end()

    asyncio.run(main())
    client.close()
    first, second = [span["attributes"] for span in fake.report()["spans"]]
    assert {key: value for key, value in first.items() if not key.startswith("aperture.")} == {
        **values,
        "bad": "\ufffd",
    }
    assert (type(first["integer"]), type(first["number"])) == (int, float)
    assert second["pending"] == 1


@pytest.mark.parametrize(
    ("key", "value", "error", "message"),
    [
        (1, "v", TypeError, "key: must be str, not int"),
        (b"k", "v", TypeError, "key: must be str, not bytes"),
        ("", "v", ValueError, "attribute key has 0 bytes"),
        ("k" * 257, "v", ValueError, "attribute key has 257 bytes; must have 1 to 256"),
        ("\udcff", "v", ValueError, "attribute key is not UTF-8"),
        ("aperture.flow.status", "OK", ValueError, "belongs to the library"),
        ("k", True, TypeError, "value: must be str, int or float, not bool"),
        ("k", None, TypeError, "value: must be str, int or float, not NoneType"),
        ("k", b"secret", TypeError, "value: must be str, int or float, not bytes"),
        ("k", 1j, TypeError, "value: must be str, int or float, not complex"),
        ("k", 2**63, ValueError, "value: does not fit into 64 bits; give a float"),
        ("k", -(2**63) - 1, ValueError, "value: does not fit into 64 bits; give a float"),
        ("k", float("nan"), ValueError, "attribute number is NaN; must be finite"),
        ("k", float("-inf"), ValueError, "attribute number is -Inf; must be finite"),
        ("k", "secret" * 20000, ValueError, "attribute text has 120000 bytes; the limit is 65536"),
    ],
)
def test_a_wrong_attribute_is_named(
    open_client: ApertureClient, key: Any, value: Any, error: type[Exception], message: str
) -> None:
    with open_client.start_flow("checkout") as flow, pytest.raises(error, match=message) as raised:
        flow.set_attribute(key, value)
    assert "secret" not in str(raised.value)


def test_one_attribute_too_many_is_refused(open_client: ApertureClient) -> None:
    with open_client.start_flow("checkout") as flow:
        for number in range(64):
            flow.set_attribute(f"key-{number}", number)
        flow.set_attribute("key-0", 1)
        with pytest.raises(InvalidArgumentError, match="at most 64"):
            flow.set_attribute("another", 1)


def test_an_attribute_after_the_end_is_logged(open_client: ApertureClient, caplog: pytest.LogCaptureFixture) -> None:
    flow = open_client.start_flow("checkout")
    flow.end()
    with caplog.at_level(logging.WARNING, logger="aperture-py"):
        flow.set_attribute("key", 1)
    assert "set_attribute comes after the end" in caplog.text


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_cannot_change_the_span_of_its_parent(open_client: ApertureClient) -> None:
    def child() -> None:
        with pytest.raises(ForkedError):
            flow.set_attribute("key", 1)

    with open_client.start_flow("checkout") as flow:
        in_child(child)
