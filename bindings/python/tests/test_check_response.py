"""The agent's whole answer about a flow, as native objects."""

import asyncio
import math
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Callable

import pytest
from children import in_child
from processes import DEADLINE, ROOT, FakeAgent

from aperture_sdk import check
from aperture_sdk.check import CheckResponse, ClassifierInfo, LimiterDecision, StatusCode
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ForkedError
from aperture_sdk.flow import Flow

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = timedelta(seconds=DEADLINE)

(PROTO,) = (ROOT / "proto").rglob("check.proto")

# One value of each kind of field, as it is in JSON and as it is in Python.
VALUES: dict[str, tuple[Any, Any]] = {
    "string": ("żółć", "żółć"),
    "bool": (True, True),
    "int64": ("9007199254740993", 9007199254740993),
    "double": (1.5, 1.5),
    "bytes": ("/wCA", b"\xff\x00\x80"),
}


def answer(flow: Flow) -> CheckResponse:
    """Return the answer about a flow that was decided, and end it."""
    response = flow.check_response
    flow.end()
    assert response is not None
    return response


def test_an_answer_of_the_engine_can_be_read(limited: ApertureClient) -> None:
    params = FlowParams(explicit_labels={"user_id": "alice", "żółć": "secret"})
    before = datetime.now(timezone.utc)
    flow = limited.start_flow("checkout", params)
    response = answer(flow)
    assert response is flow.check_response  # decoded once
    assert response.control_point == "checkout"
    assert response.decision_type == CheckResponse.DECISION_TYPE_ACCEPTED
    assert response.decision_type is CheckResponse.DecisionType.DECISION_TYPE_ACCEPTED
    assert response.reject_reason == CheckResponse.REJECT_REASON_NONE == 0
    assert set(response.flow_label_keys) == {"user_id", "żółć"}
    assert before - timedelta(seconds=1) < response.start.ToDatetime(timezone.utc) <= datetime.now(timezone.utc)
    assert response.start.ToDatetime() == response.start.ToDatetime(timezone.utc).replace(tzinfo=None)
    (decision,) = response.limiter_decisions
    assert decision.policy_name == "test"
    assert not decision.dropped
    assert decision.WhichOneof("details") == "rate_limiter_info"
    assert decision.rate_limiter_info.tokens_info.remaining == 2
    assert decision.rate_limiter_info.tokens_info.consumed == 1
    assert "secret" not in repr(response) + repr(decision)


def test_a_rejection_can_be_read(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-decision", "reject", "-reason", "NO_TOKENS", "-wait-time", "1.5000001s", "-status", "503"))
    response = answer(client.start_flow("checkout", FlowParams(PATIENT)))
    assert response.decision_type == CheckResponse.DECISION_TYPE_REJECTED
    assert response.reject_reason == CheckResponse.RejectReason.REJECT_REASON_NO_TOKENS
    assert response.denied_response_status_code is StatusCode.ServiceUnavailable
    assert response.HasField("wait_time")
    assert (response.wait_time.seconds, response.wait_time.nanos) == (1, 500_000_100)
    assert response.wait_time.ToTimedelta() == timedelta(seconds=1.5)


def test_what_is_unset_has_its_default(agent: StartAgent, connect: Connect) -> None:
    response = answer(connect(agent("-decision", "empty")).start_flow("checkout", FlowParams(PATIENT)))
    assert response == CheckResponse()
    assert response.decision_type is CheckResponse.DECISION_TYPE_ACCEPTED
    assert response.denied_response_status_code is StatusCode.Empty
    assert (response.control_point, response.services, response.telemetry_flow_labels) == ("", (), {})
    assert not response.HasField("wait_time")
    assert response.wait_time.ToTimedelta() == timedelta(0)
    assert response.start.ToDatetime() == datetime(1970, 1, 1)
    assert not response.HasField("cache_lookup_response")
    assert not response.cache_lookup_response.HasField("result_cache_response")
    assert response.cache_lookup_response.result_cache_response.value == b""
    assert LimiterDecision().concurrency_limiter_info.tokens_info.current == 0.0
    assert repr(response) == "<CheckResponse>"


def test_what_the_cache_had_is_in_the_answer(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 2))
    client.cache_set("checkout", b"\xff\0", timedelta(hours=1), result_cache_key="key")
    response = answer(client.start_flow("checkout", FlowParams(PATIENT, None, False, "key", ["g"])))
    found = response.cache_lookup_response
    assert found.HasField("result_cache_response")
    assert found.result_cache_response.value == b"\xff\0"
    assert found.result_cache_response.lookup_status == check.CacheLookupStatus.HIT
    assert found.global_cache_responses["g"].lookup_status == check.CacheLookupStatus.MISS
    assert [decision.WhichOneof("details") for decision in response.limiter_decisions] == [
        "concurrency_limiter_info",
        "concurrency_limiter_info",
    ]
    ids = [decision.concurrency_limiter_info.request_id for decision in response.limiter_decisions]
    assert all(ids)
    assert ids[0] != ids[1]


def test_a_large_answer_is_read_whole(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-in-flight", 1000))
    response = answer(client.start_flow("checkout", FlowParams(PATIENT)))
    assert len({decision.concurrency_limiter_info.request_id for decision in response.limiter_decisions}) == 1000


def test_a_flow_about_which_nothing_was_decided_has_none(closed_port: str) -> None:
    with ApertureClient.new_client(closed_port, insecure=True) as client:
        flow = client.start_flow("checkout")
        assert flow.check_response is None
        assert flow.check_response is None
        flow.end()


def test_a_pending_flow_waits_for_it(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-delay", "20ms", "-in-flight", 1))

    async def main() -> None:
        assert len(answer(client.start_flow("checkout", FlowParams(PATIENT))).limiter_decisions) == 1

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_is_told_that_the_answer_is_its_parents(limited: ApertureClient) -> None:
    flow = limited.start_flow("checkout")

    def child() -> None:
        with pytest.raises(ForkedError):
            _ = flow.check_response

    in_child(child)
    flow.end()


def test_an_answer_cannot_be_changed() -> None:
    response = CheckResponse({"telemetry_flow_labels": {"a": "b"}, "services": ["s"]})
    with pytest.raises(AttributeError, match=r"control_point: .* cannot be changed"):
        response.control_point = "x"
    with pytest.raises(AttributeError):
        response.unknown = "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        response.telemetry_flow_labels["a"] = "c"  # type: ignore[index]
    assert response.services == ("s",)
    with pytest.raises(TypeError, match="unhashable"):
        hash(response)


def test_fields_that_are_always_there_have_no_presence() -> None:
    response = CheckResponse()
    with pytest.raises(ValueError, match=r"CheckResponse\.control_point is no message"):
        response.HasField("control_point")
    with pytest.raises(ValueError, match=r"CheckResponse\.limiter_decisions is no message"):
        response.HasField("limiter_decisions")
    with pytest.raises(ValueError, match="CheckResponse has no wait"):
        response.HasField("wait")
    with pytest.raises(ValueError, match="CheckResponse has no details"):
        response.WhichOneof("details")
    assert not LimiterDecision().HasField("details")
    assert LimiterDecision({"sampler_info": {}}).HasField("details")
    assert LimiterDecision().WhichOneof("details") is None


@pytest.mark.parametrize(
    ("text", "seconds", "nanos", "expected"),
    [
        ("0s", 0, 0, timedelta(0)),
        ("90s", 90, 0, timedelta(seconds=90)),
        ("1.05s", 1, 50_000_000, timedelta(seconds=1.05)),
        ("-0.500s", 0, -500_000_000, timedelta(seconds=-0.5)),
        ("-1.000000999s", -1, -999, timedelta(seconds=-1)),
        ("1.000000999s", 1, 999, timedelta(seconds=1)),
    ],
)
def test_a_duration_is_read_exactly(text: str, seconds: int, nanos: int, expected: timedelta) -> None:
    duration = CheckResponse({"wait_time": text}).wait_time
    assert (duration.seconds, duration.nanos, duration.ToTimedelta()) == (seconds, nanos, expected)


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("2024-02-29T12:34:56.789Z", 1709210096, 789_000_000),
        ("2024-02-29T12:34:56.000000001Z", 1709210096, 1),
        ("1969-12-31T23:59:59.5Z", -1, 500_000_000),
        ("0001-01-01T00:00:00Z", -62135596800, 0),
    ],
)
def test_a_timestamp_is_read_exactly(text: str, seconds: int, nanos: int) -> None:
    moment = CheckResponse({"start": text}).start
    assert (moment.seconds, moment.nanos) == (seconds, nanos)
    assert moment.ToDatetime().isoformat()[:19] == text[:19]


def test_numbers_that_json_has_none_for_are_read() -> None:
    tokens = {"remaining": "NaN", "current": "Infinity", "consumed": "-Infinity"}
    read = LimiterDecision({"rate_limiter_info": {"tokens_info": tokens}}).rate_limiter_info.tokens_info
    assert math.isnan(read.remaining)
    assert (read.current, read.consumed) == (math.inf, -math.inf)


def test_what_a_newer_agent_says_is_no_error() -> None:
    response = CheckResponse({"decision_type": 7, "denied_response_status_code": 418, "unheard_of": {"a": 1}})
    assert response.decision_type == 7
    assert response.decision_type.name == "UNKNOWN_7"
    assert response.denied_response_status_code == 418
    with pytest.raises(ValueError, match="'x' is not a valid"):
        find("StatusCode")("x")


def parse_proto() -> "tuple[dict[str, dict[str, tuple[str, str]]], dict[str, dict[str, int]]]":
    """Return the messages and enumerations of the protocol: name of each field, its kind, and its group."""
    messages: dict[str, dict[str, tuple[str, str]]] = {}
    enumerations: dict[str, dict[str, int]] = {}
    path: list[str] = []
    for line in PROTO.read_text().splitlines():
        if opened := re.match(r"\s*(message|enum|oneof|service) (\w+) \{", line):
            path.append(opened[2])
            place = ".".join(name for name in path if name != "details")
            if opened[1] == "message":
                messages[place] = {}
            elif opened[1] == "enum":
                enumerations[place] = {}
        elif re.match(r"\s*\}", line):
            path.pop()
        elif value := re.match(r"\s*(\w+) = (\d+);", line):
            enumerations[".".join(path)][value[1]] = int(value[2])
        elif field := re.match(r"\s*((?:repeated )?[\w.]+(?:<.*>)?) (\w+) = \d+;", line):
            group = path[-1] if path[-1] == "details" else ""
            messages[".".join(name for name in path if name != "details")][field[2]] = (field[1], group)
    return messages, enumerations


MESSAGES, ENUMERATIONS = parse_proto()


def reachable(name: str) -> set[str]:
    """Return a message of the protocol and all that can be in it."""
    found = {name}
    for kind, _ in MESSAGES[name].values():
        for word in re.findall(r"\w+", kind):
            for inner in (f"{name}.{word}", f"{name.rpartition('.')[0]}.{word}", word):
                if inner in MESSAGES and inner not in found:
                    found |= reachable(inner)
    return found


def find(name: str) -> Any:
    """Return the class of a message or an enumeration of the protocol."""
    found: Any = check
    for part in name.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", sorted(reachable("CheckResponse")))
def test_a_message_has_the_fields_of_the_protocol(name: str) -> None:
    kind = find(name)
    assert kind.__qualname__ == name
    assert set(kind._fields) == set(MESSAGES[name])
    for field, (told, group) in MESSAGES[name].items():
        assert (kind._fields[field].oneof or "") == group
        repeated, _, scalar = told.rpartition(" ")
        if scalar in VALUES:
            json, expected = VALUES[scalar]
            value = getattr(kind({field: [json] if repeated else json}), field)
            assert value == ((expected,) if repeated else expected)
            assert type(getattr(kind(), field)) is type(value)
        elif f"{name}.{scalar}" in ENUMERATIONS or scalar in ENUMERATIONS:
            enumeration = find(f"{name}.{scalar}" if f"{name}.{scalar}" in ENUMERATIONS else scalar)
            last = list(enumeration)[-1]
            assert getattr(kind({field: int(last)}), field) is last
        elif not repeated and "<" not in told:
            assert isinstance(getattr(kind(), field), check.Message)
            assert kind().HasField(field) is False


@pytest.mark.parametrize("name", [name for name in ENUMERATIONS if name != "Empty"])
def test_an_enumeration_has_the_numbers_of_the_protocol(name: str) -> None:
    kind = find(name)
    assert {member.name: member.value for member in kind} == ENUMERATIONS[name]
    owner = name.rpartition(".")[0]
    for member in kind if owner else ():
        assert getattr(find(owner), member.name) is member


def test_the_protocol_was_read() -> None:
    assert {"CheckResponse", "LimiterDecision.TokensInfo", "CacheLookupResponse"} <= reachable("CheckResponse")
    assert ENUMERATIONS["StatusCode"]["TooManyRequests"] == 429
    assert MESSAGES["LimiterDecision"]["sampler_info"] == ("SamplerInfo", "details")
    assert ClassifierInfo.ERROR_EVAL_FAILED == 1
