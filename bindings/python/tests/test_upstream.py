"""A program for the blocking client of the upstream package, word for word (test_client_async.py has the other)."""

from datetime import timedelta
from typing import Callable

import pytest
from processes import DEADLINE, FakeAgent

from aperture_sdk.cache import LookupStatus
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowDecision, FlowStatus

StartAgent = Callable[..., FakeAgent]


def serve(client: ApertureClient, user: str) -> str:
    """Do the work of one request."""
    flow_params = FlowParams(
        check_timeout=timedelta(seconds=DEADLINE),
        explicit_labels={"user_id": user},
        ramp_mode=False,
        result_cache_key=user,
        global_cache_keys=["currency"],
    )
    flow = client.start_flow(control_point="checkout", params=flow_params)
    if flow.should_run():
        if flow.result_cache().get_lookup_status() == LookupStatus.HIT:
            value = flow.result_cache().get_value()
            answer = "" if value is None else value.decode()
        else:
            answer = f"a cart of {user}"
            response = flow.set_result_cache(value=answer, ttl=timedelta(seconds=60))
            assert response.get_error() is None
            response = flow.set_global_cache(key="currency", value="EUR", ttl=timedelta(seconds=60))
            assert response.get_error() is None
        flow.set_status(FlowStatus.OK)
    else:
        flow.set_status(FlowStatus.Error)
        answer = str(flow.http_response_code())
    end = flow.end()
    assert end.get_error() is None
    assert flow.decision is (FlowDecision.Accepted if flow.should_run() else FlowDecision.Rejected)
    return answer


@pytest.mark.parametrize(
    ("decision", "first", "second"), [("accept", "a cart of alice", "a cart of alice"), ("reject", "429", "429")]
)
def test_a_program_for_the_upstream_package_runs(agent: StartAgent, decision: str, first: str, second: str) -> None:
    fake = agent("-decision", decision)
    client = ApertureClient.new_client(
        address=fake.address, api_key="key", insecure=True, grpc_timeout=timedelta(seconds=DEADLINE)
    )
    assert [serve(client, "alice"), serve(client, "alice")] == [first, second]
    client.close()
    report = fake.report()
    assert report["api_keys"] == ["key"]
    assert report["cache_upsert_count"] == (2 if decision == "accept" else 0)
    status = "OK" if decision == "accept" else "Error"
    assert [span["attributes"]["aperture.flow.status"] for span in report["spans"]] == [status] * 2
