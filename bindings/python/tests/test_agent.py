"""Flows that an agent decides: one that is scripted, one that is down, and aperture-local."""

import logging
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Callable

import pytest
from conftest import Certificates
from flows import ended
from processes import DEADLINE, FakeAgent, Server

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ClosedError, NotReadyError, UnreachableError
from aperture_sdk.flow import FlowDecision, FlowEndResponse, FlowStatus, RejectReason, UnreachableReason

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

LONG = timedelta(seconds=DEADLINE)


def test_a_flow_goes_to_the_agent_and_back(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake, api_key="key-1", user_agent="shop/1.0")
    params = FlowParams(explicit_labels={"tier": "gold", "name": "żółć"}, check_timeout=timedelta(seconds=20))
    with client.start_flow("checkout", params) as flow:
        assert flow.should_run()
        assert flow.decision is FlowDecision.Accepted
    with pytest.raises(KeyError), client.start_flow("checkout", params):
        raise KeyError
    client.close()
    assert client._closed
    report = fake.report()
    assert report["check_count"] == 2
    check = report["checks"][0]
    assert (check["control_point"], check["labels"]) == ("checkout", {"tier": "gold", "name": "żółć"})
    assert check["expect_end"]
    assert not check["ramp_mode"]
    assert 10_000 < check["timeout_ms"] <= 20_000
    assert report["api_keys"] == ["key-1"]
    assert all(name.startswith("shop/1.0") for name in report["user_agents"])
    assert [span["attributes"]["aperture.flow.status"] for span in report["spans"]] == ["OK", "Error"]


def test_no_deadline_of_the_callers_own_is_the_longest(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    connect(fake).start_flow("checkout", FlowParams(check_timeout=timedelta(0))).end()
    assert fake.report()["checks"][0]["timeout_ms"] > 23 * 3_600_000


def test_a_rejection_is_told_in_full(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-decision", "reject", "-reason", "NO_TOKENS", "-wait-time", "1.5000001s"))
    flow = client.start_flow("checkout", FlowParams(check_timeout=LONG))
    assert not flow.should_run()
    assert flow.reject_reason is RejectReason.NO_TOKENS
    assert flow.http_response_code() == 503
    assert flow.retry_after() == timedelta(seconds=1.500001)
    flow.end()


def test_the_status_of_the_policy_goes_before_that_of_the_reason(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-decision", "reject", "-status", "418"))
    with client.start_flow("checkout", FlowParams(check_timeout=LONG)) as flow:
        assert flow.http_response_code() == 418
        assert flow.retry_after() is None


def test_ramp_mode_reaches_the_agent(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    connect(fake).start_flow("checkout", FlowParams(ramp_mode=True, check_timeout=LONG)).end()
    assert fake.report()["checks"][0]["ramp_mode"]


def test_an_agent_that_is_down_lets_flows_run_and_is_counted(
    closed_port: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ApertureClient.new_client(address=closed_port, insecure=True) as client:
        with pytest.raises(NotReadyError, match="connection refused"):
            client.wait_ready(0.3)
        flow = client.start_flow("checkout")
        assert flow.should_run()
        assert not flow.success
        assert flow.decision is FlowDecision.Unreachable
        assert flow.unreachable_reason is not UnreachableReason.NONE
        assert flow.http_response_code() == 200
        assert flow.retry_after() is None
        error = flow.error()
        assert isinstance(error, UnreachableError)
        assert error.reason is flow.unreachable_reason
        assert str(error)
        flow.set_status(FlowStatus.Error)
        assert flow.end().get_error() is None  # an outage is no error of each request
        assert client.stats().flows_unreachable == 1
    assert caplog.text == ""


def test_an_agent_that_is_down_refuses_flows_in_ramp_mode(closed_port: str) -> None:
    with ApertureClient.new_client(address=closed_port, insecure=True) as client:
        flow = client.start_flow("checkout", FlowParams(ramp_mode=True))
        assert not flow.should_run()
        assert flow.decision is FlowDecision.Unreachable
        assert flow.http_response_code() == 503
        assert flow.end().get_error() is None


@pytest.mark.parametrize("milliseconds", [50, 300])  # both sides of what waits in slices
def test_a_slow_agent_lets_flows_run_in_time(agent: StartAgent, connect: Connect, milliseconds: int) -> None:
    client = connect(agent("-hang"))
    flow = client.start_flow("checkout", FlowParams(check_timeout=timedelta(milliseconds=milliseconds)))
    assert ended(flow).should_run()
    assert flow.unreachable_reason is UnreachableReason.TIMEOUT
    assert client.stats().unreachable_timeout == 1
    assert client.stats().calls_pending == 0


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("-error", "INTERNAL"), UnreachableReason.AGENT_ERROR),
        (("-error", "PERMISSION_DENIED"), UnreachableReason.MISCONFIGURED),
        (("-decision", "garbage"), UnreachableReason.AGENT_ERROR),
    ],
)
def test_an_agent_that_fails_lets_flows_run_and_says_why(
    agent: StartAgent, connect: Connect, flags: tuple[str, ...], reason: UnreachableReason
) -> None:
    flow = connect(agent(*flags)).start_flow("checkout", FlowParams(check_timeout=LONG))
    assert flow.should_run()
    assert flow.unreachable_reason is reason
    flow.end()


def check_returned(response: "FlowEndResponse | None") -> None:
    assert response is not None
    assert len(response.token_return_statuses) == 2
    for status in response.token_return_statuses:
        assert status.returned
        assert status.error == ""
        assert status.inflight_request_ref.request_id
        assert status.inflight_request_ref.policy_name
        assert isinstance(status.inflight_request_ref.tokens, float)


def test_in_flight_tokens_are_given_back(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 2)
    client = connect(fake)
    response = client.start_flow("checkout", FlowParams(check_timeout=LONG)).end()
    assert response.get_error() is None
    check_returned(response.get_flow_end_response())
    assert response.get_flow_end_response() is response.flow_end_response  # decoded once
    report = fake.report()
    assert report["flow_end_count"] == 1
    assert len(report["flow_ends"][0]["request_ids"]) == 2


def test_in_flight_tokens_are_given_back_from_other_threads(agent: StartAgent, connect: Connect) -> None:
    fake = agent("-in-flight", 2)
    client = connect(fake)

    def work() -> None:
        for _ in range(5):
            check_returned(client.start_flow("checkout", FlowParams(check_timeout=LONG)).end().flow_end_response)
            done.append(True)

    done: list[bool] = []
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 20
    assert fake.report()["flow_end_count"] == 20


def test_tokens_that_could_not_be_given_back_are_an_error(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 1, "-flow-end-error", "INTERNAL"))
    response = client.start_flow("checkout", FlowParams(check_timeout=LONG)).end()
    assert isinstance(response.get_error(), UnreachableError)
    assert response.get_flow_end_response() is None
    assert client.stats().flow_ends_failed == 1


def test_an_end_is_bounded_by_grpc_timeout(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 1, "-flow-end-hang"), grpc_timeout=timedelta(milliseconds=150))
    started = time.monotonic()
    response = client.start_flow("checkout", FlowParams(check_timeout=LONG)).end()
    assert isinstance(response.get_error(), UnreachableError)
    assert 0.1 < time.monotonic() - started < DEADLINE


def test_close_ends_calls_that_wait(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-hang"))
    ends: list[object] = []

    def wait() -> None:
        try:
            flow = client.start_flow("checkout", FlowParams(check_timeout=timedelta(0)))
            ends.append(ended(flow).unreachable_reason)
        except ClosedError:  # the close came before the call
            ends.append(UnreachableReason.CLOSED)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    client.close()
    for thread in threads:
        thread.join(DEADLINE)
    assert ends == [UnreachableReason.CLOSED] * 3


def test_telemetry_that_cannot_be_sent_is_logged(
    agent: StartAgent, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(agent("-export-hang"))
    client.start_flow("checkout", FlowParams(check_timeout=LONG)).end()
    with caplog.at_level(logging.WARNING, logger="aperture-py"):
        client.close(timedelta(milliseconds=100))
    assert "closing the client of 127.0.0.1" in caplog.text


def test_telemetry_can_be_off(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake, telemetry=False)
    client.start_flow("checkout", FlowParams(check_timeout=LONG)).end()
    client.close()
    assert fake.report()["export_count"] == 0


def test_tls_and_an_api_key(agent: StartAgent, connect: Connect, certificates: Certificates) -> None:
    fake = agent("-tls-cert", certificates.server, "-tls-key", certificates.key, "-require-api-key", "the key")
    good = connect(fake, insecure=False, ca_file=certificates.ca, api_key="the key", server_name="localhost")
    assert ended(good.start_flow("checkout", FlowParams(check_timeout=LONG))).decision is FlowDecision.Accepted
    bad = connect(fake, insecure=False, ca_file=str(certificates.ca), api_key="another key")
    flow = bad.start_flow("checkout", FlowParams(check_timeout=LONG))
    assert ended(flow).unreachable_reason is UnreachableReason.MISCONFIGURED
    assert "another key" not in str(flow.error())


def why_not_ready(client: ApertureClient) -> str:
    """Return the first failure of a connection."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with pytest.raises(NotReadyError) as raised:
            client.wait_ready(0.1)
        if "certificate" in str(raised.value) or time.monotonic() > deadline:
            return str(raised.value)


def test_an_agent_that_is_not_trusted_is_not_used(agent: StartAgent, certificates: Certificates) -> None:
    fake = agent("-tls-cert", certificates.server, "-tls-key", certificates.key)
    for options in ({}, {"ca_file": certificates.other_ca}, {"ca_file": certificates.ca, "server_name": "elsewhere"}):
        with ApertureClient.new_client(fake.address, **options) as client:
            assert "certificate" in why_not_ready(client)
            flow = client.start_flow("checkout")
            assert ended(flow).decision is FlowDecision.Unreachable
            assert flow.should_run()


def test_a_unix_socket_reaches_an_agent(agent: StartAgent, connect: Connect, tmp_path: Path) -> None:
    client = connect(agent("-unix", tmp_path / "agent.sock"))
    assert ended(client.start_flow("checkout", FlowParams(check_timeout=LONG))).success


def exhaust(client: ApertureClient) -> None:
    params = FlowParams(explicit_labels={"user_id": "alice"}, check_timeout=LONG)
    for expected in (True, True, True, False):
        with client.start_flow("checkout", params) as flow:
            assert flow.success
            assert flow.should_run() == expected
    assert flow.http_response_code() == 429
    assert flow.retry_after() is not None


def test_aperture_local_decides_for_several_clients(policy_file: Callable[..., Path]) -> None:
    with Server("aperture-local", "--listen", "127.0.0.1:0", "--metrics", "off", policy_file()) as server:
        clients = [ApertureClient.new_client(server.address, insecure=True) for _ in range(2)]
        for client in clients:
            client.wait_ready(DEADLINE)
        exhaust(clients[0])
        params = FlowParams(explicit_labels={"user_id": "alice"}, check_timeout=LONG)
        assert not ended(clients[1].start_flow("checkout", params)).should_run()
        for client in clients:
            client.close()


def test_aperture_local_with_tls_and_an_api_key(
    policy_file: Callable[..., Path], certificates: Certificates, tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("the-key\n")
    tls = ("--tls-cert", certificates.server, "--tls-key", certificates.key, "--require-api-key-file", keys)
    with Server("aperture-local", "--listen", "127.0.0.1:0", "--metrics", "off", *tls, policy_file()) as server:
        with ApertureClient.new_client(server.address, api_key="the-key", ca_file=certificates.ca) as client:
            client.wait_ready(DEADLINE)
            exhaust(client)
        with ApertureClient.new_client(server.address, api_key="wrong", ca_file=certificates.ca) as client:
            flow = client.start_flow("checkout", FlowParams(check_timeout=LONG))
            assert ended(flow).unreachable_reason is UnreachableReason.MISCONFIGURED
