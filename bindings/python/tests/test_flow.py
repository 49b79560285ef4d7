"""Flows that are decided in this process."""

import gc
import logging
import threading
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from flows import ended

from aperture_sdk.client import ApertureClient, FlowParams, Labels
from aperture_sdk.errors import AlreadyEndedError, ClosedError
from aperture_sdk.flow import EndResponse, Flow, FlowDecision, FlowStatus, RejectReason, UnreachableReason


def start(client: ApertureClient, user: str = "alice") -> Flow:
    return client.start_flow(control_point="checkout", params=FlowParams(explicit_labels={"user_id": user}))


def exhaust(client: ApertureClient, user: str = "alice") -> Flow:
    """Use up the three flows of a user, and return the next one, which is rejected."""
    for _ in range(3):
        start(client, user).end()
    return start(client, user)


def test_the_documented_program_runs(limited: ApertureClient) -> None:
    labels: Labels = {"user_id": "alice"}
    flow = limited.start_flow(
        control_point="checkout",
        params=FlowParams(check_timeout=timedelta(milliseconds=200), explicit_labels=labels),
    )
    assert flow.success
    if flow.should_run():
        flow.set_status(FlowStatus.Error)
    response = flow.end()
    assert response.get_error() is None
    assert response.get_flow_end_response() is None
    assert response.error is None
    assert response.flow_end_response is None


def test_an_accepted_flow_says_so(limited: ApertureClient) -> None:
    flow = start(limited)
    assert flow.should_run()
    assert flow.success
    assert flow.decision is FlowDecision.Accepted
    assert flow.reject_reason is RejectReason.NONE
    assert flow.unreachable_reason is UnreachableReason.NONE
    assert flow.http_response_code() == 200
    assert flow.retry_after() is None
    assert flow.error() is None
    assert repr(flow) == "<Flow Accepted>"
    flow.end()
    assert repr(flow) == "<Flow Accepted ended>"


def test_a_rejected_flow_says_why_and_when_to_try_again(limited: ApertureClient) -> None:
    flow = exhaust(limited)
    assert not flow.should_run()
    assert flow.success  # there is a decision
    assert flow.decision is FlowDecision.Rejected
    assert flow.reject_reason is RejectReason.RATE_LIMITED
    assert flow.http_response_code() == 429
    retry_after = flow.retry_after()
    assert retry_after is not None
    assert timedelta(minutes=50) < retry_after <= timedelta(hours=1)
    assert flow.error() is None
    assert flow.end().get_error() is None


def test_each_label_value_has_its_own_limit(limited: ApertureClient) -> None:
    assert not ended(exhaust(limited, "alice")).should_run()
    assert ended(start(limited, "bob")).should_run()
    assert ended(start(limited, "żółć")).should_run()
    assert not ended(exhaust(limited, "ż")).should_run()


def test_params_may_be_left_out(limited: ApertureClient) -> None:
    assert ended(limited.start_flow("elsewhere")).should_run()
    assert ended(limited.start_flow("elsewhere", None)).should_run()
    assert ended(limited.start_flow("elsewhere", FlowParams())).should_run()


def test_labels_may_be_any_mapping(limited: ApertureClient) -> None:
    class OneLabel(Mapping[str, str]):
        def __getitem__(self, key: str) -> str:
            return "mapped"

        def __iter__(self) -> Iterator[str]:
            return iter(["user_id"])

        def __len__(self) -> int:
            return 1

    params = FlowParams(explicit_labels=OneLabel())
    assert [ended(limited.start_flow("checkout", params)).should_run() for _ in range(4)] == [True, True, True, False]


def test_params_are_not_changed(limited: ApertureClient) -> None:
    labels = {"user_id": "alice"}
    params = FlowParams(explicit_labels=labels)
    limited.start_flow("checkout", params).end()
    assert params == FlowParams(explicit_labels={"user_id": "alice"})
    assert params.explicit_labels is labels


def test_a_second_end_is_an_error_that_is_not_raised(limited: ApertureClient) -> None:
    flow = start(limited)
    assert flow.end().get_error() is None
    for _ in range(2):
        error = flow.end().get_error()
        assert isinstance(error, AlreadyEndedError)
    assert limited.stats().flows_ended == 1


def test_a_status_after_the_end_is_logged(limited: ApertureClient, caplog: pytest.LogCaptureFixture) -> None:
    flow = start(limited)
    flow.end()
    with caplog.at_level(logging.WARNING, logger="aperture-py"):
        flow.set_status(FlowStatus.Error)
    assert "has no effect" in caplog.text


def test_flows_are_counted(limited: ApertureClient) -> None:
    exhaust(limited).end()
    stats = limited.stats()
    assert (stats.flows_accepted, stats.flows_rejected, stats.flows_unreachable, stats.flows_ended) == (3, 1, 0, 4)


def test_a_with_block_ends_the_flow(limited: ApertureClient) -> None:
    with start(limited) as flow:
        assert flow.should_run()
    assert isinstance(flow.end().get_error(), AlreadyEndedError)


def test_a_with_block_passes_an_exception_on_and_ends_the_flow(limited: ApertureClient) -> None:
    with pytest.raises(KeyError), start(limited) as flow:
        raise KeyError
    assert isinstance(flow.end().get_error(), AlreadyEndedError)


def test_a_flow_may_be_ended_inside_its_with_block(limited: ApertureClient, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError), start(limited) as flow:
        flow.end()
        raise KeyError
    assert caplog.text == ""
    assert limited.stats().flows_ended == 1


def test_a_flow_is_true_like_any_object(limited: ApertureClient) -> None:
    # Programs for the upstream package may say `if flow:`; whether to run is what should_run() tells.
    assert ended(exhaust(limited))


def test_a_flow_outlives_its_client(policy_file: object) -> None:
    client = ApertureClient.new_client(address="local:")
    flow = client.start_flow("checkout")
    client.close()
    assert flow.should_run()
    flow.set_status(FlowStatus.Error)
    assert flow.end().get_error() is None


def test_a_closed_client_starts_no_flow() -> None:
    client = ApertureClient.new_client(address="local:")
    client.close()
    client.close()
    assert repr(client) == "<ApertureClient local: closed>"
    for use in (lambda: client.start_flow("checkout"), lambda: client.wait_ready(1), client.stats):
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_a_client_that_nobody_closes_is_noticed() -> None:
    client = ApertureClient.new_client(address="local:")
    live = client._library.live_handles
    before = live()
    with pytest.warns(ResourceWarning, match="unclosed <ApertureClient local:>"):
        del client
        gc.collect()
    assert live() == before - 1


def test_a_flow_gives_its_handle_back_when_it_is_forgotten(open_client: ApertureClient) -> None:
    live = open_client._library.live_handles
    before = live()
    flows = [open_client.start_flow("checkout") for _ in range(10)]
    responses: list[EndResponse] = [flow.end() for flow in flows]
    assert live() == before + 10
    del flows, responses
    gc.collect()
    assert live() == before


def test_flows_in_a_cycle_give_their_handles_back(open_client: ApertureClient) -> None:
    class Holder:
        flow: Flow
        me: "Holder"

    live = open_client._library.live_handles
    before = live()
    holder = Holder()
    holder.me = holder
    holder.flow = ended(open_client.start_flow("checkout"))
    del holder
    gc.collect()
    assert live() == before


def test_threads_share_a_client(limited: ApertureClient) -> None:
    accepted: list[bool] = []

    def work() -> None:
        for number in range(100):
            with start(limited, f"user-{number}") as flow:
                accepted.append(flow.should_run())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(accepted) == 800
    assert accepted.count(True) == 300
    assert limited.stats().flows_ended == 800


def test_a_call_inside_a_call_gets_memory_of_its_own(limited: ApertureClient) -> None:
    class Nested(Mapping[str, str]):
        """Labels that start a flow while they are read, as a finalizer might."""

        def __getitem__(self, key: str) -> str:
            assert ended(start(limited, "nested")).should_run()
            return "outer"

        def __iter__(self) -> Iterator[str]:
            return iter(["user_id"])

        def __len__(self) -> int:
            return 1

    params = FlowParams(explicit_labels=Nested())
    assert [ended(limited.start_flow("checkout", params)).should_run() for _ in range(3)] == [True] * 3
    assert not ended(start(limited, "outer")).should_run()
    assert not ended(start(limited, "nested")).should_run()


def test_outside_of_an_event_loop_await_is_complete(limited: ApertureClient) -> None:
    """Code for await can be run by hand, without an event loop."""

    async def one() -> tuple[bool, object]:
        await limited.wait_ready(1)
        flow = await start(limited)
        run = flow.should_run()
        return run, (await flow.end()).get_error()

    coroutine = one()
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    assert stop.value.value == (True, None)
