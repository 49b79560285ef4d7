"""The policies of a client with a local: address: flows that wait, reload, and what the engine has counted."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import InvalidArgumentError, PolicyError

PATIENT = FlowParams(check_timeout=timedelta(seconds=20))


def test_reload_and_snapshot(policies: Path) -> None:
    text = policies.read_text()
    with ApertureClient.new_client(address=f"local:{policies}") as client:
        with client.start_flow("checkout") as flow:
            assert flow.should_run()
            policies.write_text("nonsense")
            with pytest.raises(PolicyError, match=r"policies\.yaml:1:1: "):
                client.reload()
            policies.write_text(text + "# nothing has changed\n")
            client.reload()
            (component,) = client.snapshot()["components"]
            assert component["kind"] == "concurrency_scheduler"
            assert component["accepted"] == 1
            assert component["in_flight"]["flows"] == 1
        assert client.snapshot()["components"][0]["in_flight"]["flows"] == 0
        assert client.snapshot()["reloads"] == 1


def test_the_bounds_of_the_engine_are_those_of_the_options(policies: Path) -> None:
    text = policies.read_text()
    policies.write_text(text.replace("max_inflight_duration", "limit_by_label_key: user, max_inflight_duration"))
    assert policies.read_text() != text

    def params(user: str) -> FlowParams:
        return FlowParams(explicit_labels={"user": user}, check_timeout=timedelta(seconds=20))

    async def waits() -> None:
        async with ApertureClient.new_client(
            address=f"local:{policies}", max_labels=1, max_waiting=1, cache_bytes=2**20
        ) as client:
            await (await client.start_flow("checkout", params("alice"))).end()
            running = await client.start_flow("checkout", params("bob"))
            waiting = client.start_flow("checkout", params("bob"))
            full = await client.start_flow("checkout", params("bob"))
            assert not full.should_run()
            (component,) = client.snapshot()["components"]
            assert component["queue"]["full"] == component["queue"]["waiting"] == 1
            assert component["labels"] == component["evicted"] == 1
            for key in "123":
                stored = await running.set_global_cache(key, bytes(400 * 1024), timedelta(minutes=1))
                assert stored.get_error() is None
            assert client.snapshot()["cache"]["evicted"] == 1
            await full.end()
            await running.end()
            await (await waiting).end()

    asyncio.run(waits())


def test_a_client_of_an_agent_has_no_policies() -> None:
    with ApertureClient.new_client(address="localhost:1", insecure=True) as client:
        with pytest.raises(InvalidArgumentError, match='only a client with a "local:" address'):
            client.reload()
        with pytest.raises(InvalidArgumentError):
            client.snapshot()


def test_a_blocking_start_waits_for_its_turn(policies: Path) -> None:
    with ApertureClient.new_client(address=f"local:{policies}") as client:
        first = client.start_flow("checkout")
        began = time.monotonic()
        with client.start_flow("checkout", FlowParams(check_timeout=timedelta(seconds=0.25))) as refused:
            assert not refused.should_run()
            assert refused.http_response_code() == 503
        assert time.monotonic() - began >= 0.25
        first.end()
        with client.start_flow("checkout") as second:
            assert second.should_run()


def test_many_starts_wait_in_an_event_loop(policies: Path) -> None:
    """None of them keeps the loop from running, and each has its turn."""

    async def run() -> None:
        with ApertureClient.new_client(address=f"local:{policies}") as client:
            first = await client.start_flow("checkout")
            ticks = 0

            async def work(number: int) -> int:
                async with client.start_flow("checkout", PATIENT) as flow:
                    assert flow.should_run()
                    return number

            tasks = [asyncio.create_task(work(number)) for number in range(50)]
            for _ in range(10):
                await asyncio.sleep(0.001)
                ticks += 1
            assert not any(task.done() for task in tasks)
            tasks[10].cancel()
            await first.end()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert [number for number in done if isinstance(number, int)] == [*range(10), *range(11, 50)]
            assert isinstance(done[10], asyncio.CancelledError)
            assert ticks == 10
            assert client.snapshot()["components"][0]["in_flight"]["flows"] == 0

    asyncio.run(run())
