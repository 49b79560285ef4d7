"""Wrong arguments get an exception that names them, at the call; nothing crashes, waits or leaks."""

import gc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable

import pytest
from flows import ended

from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import ApertureError, Code, InvalidArgumentError, NotReadyError, PolicyError
from aperture_sdk.flow import FlowDecision


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Count handles: a call that fails leaves none."""
    gc.collect()  # what tests before this one have left
    before = _library.load().live_handles()
    yield
    assert _library.load().live_handles() == before


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"address": None}, TypeError, "address: must be str, not NoneType"),
        ({"address": 8080}, TypeError, "address: must be str, not int"),
        ({"address": b"local:"}, TypeError, "address: must be str, not bytes"),
        ({"address": ""}, ValueError, "address"),
        ({"address": "no port"}, ValueError, "address"),
        ({"address": "host:\udcff"}, ValueError, "address"),
        ({"address": "local:", "api_key": 1}, TypeError, "api_key: must be str, not int"),
        ({"address": "host:1", "api_key": "line\nbreak"}, ValueError, "(?i)api.?key"),
        ({"address": "local:", "insecure": "false"}, TypeError, "insecure: must be bool, not str"),
        ({"address": "local:", "telemetry": 1}, TypeError, "telemetry: must be bool, not int"),
        ({"address": "local:", "grpc_timeout": 1}, TypeError, "grpc_timeout: must be datetime.timedelta, not int"),
        ({"address": "local:", "grpc_timeout": timedelta(0)}, ValueError, "(?i)timeout"),
        ({"address": "local:", "grpc_timeout": timedelta(seconds=-1)}, ValueError, "(?i)timeout"),
        ({"address": "local:", "credentials": object()}, TypeError, "credentials: .* use ca_file"),
        ({"address": "local:", "max_pending_calls": 0}, ValueError, "max_pending_calls: is 0; must be at least 1"),
        ({"address": "local:", "max_pending_calls": 1.5}, TypeError, "max_pending_calls: must be int, not float"),
        ({"address": "host:1", "ca_file": 3}, TypeError, "ca_file: must be str or os.PathLike, not int"),
        ({"address": "host:1", "ca_file": "/absent/ca.pem"}, ValueError, r"/absent/ca\.pem"),
        ({"address": "host:1", "server_name": 3}, TypeError, "server_name: must be str"),
        ({"address": "host:1", "user_agent": 3}, TypeError, "user_agent: must be str"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ApertureClient.new_client(**options)


def test_an_api_key_is_in_no_message() -> None:
    with pytest.raises(ValueError, match=r"(?i)api.?key") as raised:
        ApertureClient.new_client(address="host:1", api_key="secret\n")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"policy\.yaml"),
        ("", r"policy\.yaml"),
        ("- 1", r"policy\.yaml"),
        ("blueprint: rate-limiting/base\npolicy: {policy_name: x, unknown_key: 1}\n", r"policy\.yaml:2"),
        ("a: [", r"policy\.yaml"),
    ],
)
def test_a_policy_file_that_is_missing_or_wrong_is_named(tmp_path: Path, content: "str | None", message: str) -> None:
    path = tmp_path / "policy.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(PolicyError, match=message) as raised:
        ApertureClient.new_client(address=f"local:{path}")
    assert isinstance(raised.value, ValueError)
    assert raised.value.code is Code.ERROR_POLICY


def params(**fields: Any) -> FlowParams:
    """Make parameters of any types."""
    return FlowParams(**fields)


@pytest.mark.parametrize(
    ("control_point", "flow_params", "error", "message"),
    [
        ("", None, ValueError, "control.point"),
        ("\udcff", None, ValueError, "control.point"),
        (None, None, TypeError, "control_point: must be str, not NoneType"),
        (b"x", None, TypeError, "control_point: must be str, not bytes"),
        ("x", {}, TypeError, "params: must be FlowParams, not dict"),
        (
            "x",
            params(explicit_labels={"a": 1}),
            TypeError,
            "explicit_labels: the value of 'a' must be str, not int",
        ),
        ("x", params(explicit_labels={"a": None}), TypeError, "the value of 'a' must be str, not NoneType"),
        ("x", params(explicit_labels={"a": b"b"}), TypeError, "the value of 'a' must be str, not bytes"),
        ("x", params(explicit_labels={1: "a"}), TypeError, "the key 1 must be str, not int"),
        ("x", params(explicit_labels=[("a", "b")]), TypeError, "must be a mapping of str to str, not list"),
        ("x", params(explicit_labels="ab"), TypeError, "must be a mapping of str to str, not str"),
        ("x", params(check_timeout=1), TypeError, "check_timeout: must be datetime.timedelta, not int"),
        ("x", params(check_timeout=None), TypeError, "check_timeout: must be datetime.timedelta"),
        ("x", params(check_timeout=timedelta(microseconds=-1)), ValueError, "(?i)check.?timeout"),
        ("x", params(check_timeout=timedelta.min), ValueError, "(?i)check.?timeout"),
    ],
)
def test_a_wrong_argument_of_a_flow_is_named(
    open_client: ApertureClient, control_point: Any, flow_params: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        open_client.start_flow(control_point, flow_params)
    if isinstance(raised.value, ApertureError):
        assert isinstance(raised.value, InvalidArgumentError)
        assert raised.value.code is Code.ERROR_INVALID_ARGUMENT
    assert ended(open_client.start_flow("checkout")).should_run()


def test_the_value_of_a_label_is_in_no_message(open_client: ApertureClient) -> None:
    with pytest.raises(TypeError) as raised:
        open_client.start_flow("x", params(explicit_labels={"a": b"secret"}))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(microseconds=1), timedelta.max])
def test_any_other_timeout_works(open_client: ApertureClient, timeout: timedelta) -> None:
    assert ended(open_client.start_flow("x", FlowParams(check_timeout=timeout))).should_run()


def test_ten_thousand_labels_work(limited: ApertureClient) -> None:
    labels = {f"label-{number}": "v" for number in range(10_000)}
    params = FlowParams(explicit_labels={**labels, "user_id": "alice"})
    assert [ended(limited.start_flow("checkout", params)).should_run() for _ in range(4)] == [True, True, True, False]


def test_a_label_of_a_mebibyte_works(limited: ApertureClient) -> None:
    params = FlowParams(explicit_labels={"user_id": "ü" * (1 << 19)})
    assert [ended(limited.start_flow("checkout", params)).should_run() for _ in range(4)] == [True, True, True, False]


def test_more_than_a_request_can_hold_is_refused_with_the_limit(open_client: ApertureClient) -> None:
    with pytest.raises(InvalidArgumentError, match="4000000"):
        open_client.start_flow("x", FlowParams(explicit_labels={"a": "b" * 4_000_000}))


def test_labels_that_are_no_unicode_are_repaired_and_counted(limited: ApertureClient) -> None:
    # Both become the same text, so that they share a bucket: no caller gets around a limit this way.
    for user in ("\udcff\udcfe", "\ud800\udcfe"):
        for _ in range(2):
            limited.start_flow("checkout", FlowParams(explicit_labels={"user_id": user, "\udcff": ""})).end()
    stats = limited.stats()
    assert stats.flows_sanitised == 4
    assert (stats.flows_accepted, stats.flows_rejected) == (3, 1)


def test_labels_may_have_any_other_text(limited: ApertureClient) -> None:
    for text in ("", "\0", "a\0b", "\n", "😀", "\ufffd", "a" * 4096, "b" * 4097):
        flow = limited.start_flow("checkout", FlowParams(explicit_labels={"user_id": text, text: text}))
        assert flow.decision is FlowDecision.Accepted, ascii(text)
        flow.end()


@pytest.mark.parametrize("status", [None, 1, "Error"])
def test_a_wrong_status_is_named(open_client: ApertureClient, status: Any) -> None:
    flow = open_client.start_flow("x")
    with pytest.raises(TypeError, match=r"status: must be FlowStatus\.OK or FlowStatus\.Error"):
        flow.set_status(status)
    flow.end()


@pytest.mark.parametrize(
    ("timeout", "error", "message"),
    [
        (None, TypeError, "timeout: must be datetime.timedelta or a number of seconds, not NoneType"),
        ("1", TypeError, "not str"),
        (True, TypeError, "not bool"),
        (-1, ValueError, "timeout"),
        (timedelta(seconds=-1), ValueError, "timeout"),
        (float("nan"), ValueError, "timeout: is not a number"),
    ],
)
def test_a_wrong_time_to_wait_is_named(
    open_client: ApertureClient, timeout: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_client.wait_ready(timeout)
    if timeout is not None:
        with pytest.raises(error, match=message):
            open_client.close(timeout)
    assert ended(open_client.start_flow("x")).should_run()


@pytest.mark.parametrize("timeout", [0, 1, 0.5, 1e300, float("inf"), timedelta(0), timedelta.max])
def test_any_other_time_to_wait_works(timeout: Any) -> None:
    client = ApertureClient.new_client(address="local:")
    client.wait_ready(timeout)
    client.close(timeout)


def test_an_agent_that_is_down_is_not_ready(closed_port: str) -> None:
    with ApertureClient.new_client(address=closed_port, insecure=True) as client:
        for timeout in (0, 0.01, 0.25):
            with pytest.raises(NotReadyError, match="not ready") as raised:
                client.wait_ready(timeout)
            assert isinstance(raised.value, TimeoutError)


def test_stale_and_invented_handles_are_refused(limited: ApertureClient, policy_file: Callable[..., Path]) -> None:
    library = _library.load()
    flow = limited.start_flow("checkout")
    stale = ended(flow)._handle
    del flow
    for handle in (0, 1, stale, stale + 1, limited._queue.client, 2**64 - 1):
        assert library.flow_set_status(handle, 0, None) == Code.ERROR_INVALID_HANDLE
        assert library.flow_end(handle, None, None) == Code.ERROR_INVALID_HANDLE
        assert library.flow_close(handle, None) == Code.ERROR_INVALID_HANDLE
        assert library.call_wait(handle, 0, None, None) == Code.ERROR_INVALID_HANDLE
        assert library.call_cancel(handle, None) == Code.ERROR_INVALID_HANDLE
