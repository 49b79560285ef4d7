"""The client that is only used in event loops, and the other names of the upstream package."""

import asyncio
import importlib
import inspect
from datetime import timedelta
from typing import Any, Callable

import pytest
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient
from aperture_sdk.client_async import ApertureClientAsync, FlowParams
from aperture_sdk.errors import AlreadyEndedError
from aperture_sdk.flow_async import FlowAsync, FlowStatus, LookupStatus

StartAgent = Callable[..., FakeAgent]

PATIENT = FlowParams(check_timeout=timedelta(seconds=DEADLINE), result_cache_key="key")
HOUR = timedelta(hours=1)


def test_the_documented_program_of_the_upstream_package_runs(agent: StartAgent) -> None:
    fake = agent("-in-flight", 1, "-delay", "20ms")
    client = ApertureClientAsync.new_client(address=fake.address, insecure=True)  # outside of the event loop

    async def main() -> None:
        await client.wait_ready(DEADLINE)
        flow = await client.start_flow(control_point="checkout", params=PATIENT)
        assert isinstance(flow, FlowAsync)
        assert flow.should_run()
        assert flow.result_cache().get_lookup_status() is LookupStatus.MISS
        assert (await flow.set_result_cache("v", HOUR)).get_error() is None
        flow.set_status(FlowStatus.OK)
        response = await flow.end()
        assert response.get_error() is None
        assert response.get_flow_end_response() is not None

        # In the upstream package this swallows the exception, and never ends the flow.
        with pytest.raises(KeyError), await client.start_flow("checkout", PATIENT) as flow:
            raise KeyError
        assert isinstance((await flow.end()).get_error(), AlreadyEndedError)
        async with client.start_flow("checkout", PATIENT) as flow:
            assert flow.result_cache().get_value() == b"v"
        assert (await client.cache_set("checkout", "w", HOUR, global_cache_key="g")).get_error() is None
        assert (await client.cache_lookup("checkout", "key", ["g"])).global_cache("g").get_value() == b"w"
        assert (await client.cache_delete("checkout", result_cache_key="key")).get_error() is None
        await client.close()

    asyncio.run(main())
    report = fake.report()
    assert report["flow_end_count"] == report["check_count"] == 3
    assert [span["attributes"]["aperture.flow.status"] for span in report["spans"]] == ["OK", "Error", "OK"]


def test_without_an_event_loop_its_calls_are_refused() -> None:
    client = ApertureClientAsync.new_client("local:")
    uses: dict[str, Callable[[], Any]] = {
        "start_flow": lambda: client.start_flow("checkout"),
        "wait_ready": lambda: client.wait_ready(1),
        "cache_lookup": lambda: client.cache_lookup("checkout", "key"),
        "cache_set": lambda: client.cache_set("checkout", "v", HOUR, result_cache_key="key"),
        "cache_delete": lambda: client.cache_delete("checkout", result_cache_key="key"),
    }
    for name, use in uses.items():
        with pytest.raises(RuntimeError, match=f"{name}: .* needs a running event loop; without one, use Aperture"):
            use()
    assert client.stats().flows_accepted == 0
    client.close()


def test_it_decorates_coroutine_functions_only() -> None:
    client = ApertureClientAsync.new_client("local:")

    @client.decorate("checkout")
    async def work() -> int:
        return 1

    assert asyncio.run(work()) == 1
    with pytest.raises(TypeError, match="needs a coroutine function"):
        client.decorate("checkout")(lambda: 1)
    assert client.stats().flows_ended == 1
    client.close()


def test_it_takes_what_the_other_client_takes() -> None:
    for name, method in inspect.getmembers(ApertureClientAsync, callable):
        if not name.startswith("_"):
            assert inspect.signature(method).parameters == inspect.signature(getattr(ApertureClient, name)).parameters


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("client", "ApertureClient FlowParams Labels"),
        ("client_async", "ApertureClientAsync FlowParams"),
        ("client_common", "FlowParams Labels"),
        (
            "flow",
            "Flow FlowDecision FlowStatus EndResponse LookupStatus KeyLookupResponse KeyUpsertResponse "
            "KeyDeleteResponse",
        ),
        ("flow_async", "FlowAsync FlowDecision FlowStatus EndResponse LookupStatus"),
        ("flow_common", "EndResponse FlowDecision FlowStatus"),
        ("cache", "LookupStatus KeyLookupResponse KeyUpsertResponse KeyDeleteResponse"),
    ],
)
def test_modules_have_the_names_of_the_upstream_package(module: str, names: str) -> None:
    found = importlib.import_module(f"aperture_sdk.{module}")
    assert set(names.split()) <= set(found.__all__)
    for name in found.__all__:
        assert hasattr(found, name)
