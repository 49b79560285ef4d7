"""Options of clients: what an agent sees of them, and what the environment says."""

import enum
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Callable

import pytest
from children import in_child
from conftest import Certificates
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.errors import InvalidArgumentError, PolicyError
from aperture_sdk.flow import FlowDecision, UnreachableReason

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]

PATIENT = FlowParams(timedelta(seconds=DEADLINE))


class Compression(enum.IntEnum):
    """The members of grpc.Compression."""

    NoCompression = 0
    Deflate = 1
    Gzip = 2


def run_flow(client: ApertureClient) -> None:
    flow = client.start_flow("checkout", PATIENT)
    assert flow.decision is FlowDecision.Accepted, flow.error()
    flow.end()
    client.close()


@pytest.mark.parametrize(
    ("compression", "encoding"),
    [
        ("gzip", "gzip"),
        (Compression.Gzip, "gzip"),
        (2, "gzip"),
        ("none", ""),
        (None, ""),
        (Compression.NoCompression, ""),
    ],
)
def test_messages_are_compressed_as_told(agent: StartAgent, connect: Connect, compression: Any, encoding: str) -> None:
    fake = agent("-in-flight", 1)
    run_flow(connect(fake, compression=compression))
    report = fake.report()
    calls = report["checks"] + report["flow_ends"] + report["exports"]
    assert [call["encoding"] for call in calls] == [encoding] * 3


@pytest.mark.parametrize(
    "metadata",
    [{"X-Tenant": "shop", "x-route": "a b"}, [("x-tenant", "shop"), ["x-route", "a b"]], iter([("x-tenant", "shop")])],
)
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_metadata_go_with_every_call(agent: StartAgent, connect: Connect, metadata: Any) -> None:
    expected = {"x-tenant": ["shop"], **({} if not isinstance(metadata, (dict, list)) else {"x-route": ["a b"]})}
    fake = agent("-in-flight", 1)
    client = connect(fake, metadata=metadata, api_key="key")
    in_child(lambda: run_flow(client))
    run_flow(client)
    report = fake.report()
    calls = report["checks"] + report["flow_ends"] + report["exports"]
    assert len(calls) == 6
    for call in calls:
        assert call["metadata"] == {**expected, "x-api-key": ["key"]}


def test_an_authority_may_be_text(agent: StartAgent, connect: Connect, certificates: Certificates) -> None:
    fake = agent("-tls-cert", certificates.server, "-tls-key", certificates.key)
    for ca_pem in (certificates.ca.read_text(), certificates.ca.read_bytes()):
        run_flow(connect(fake, insecure=False, ca_pem=ca_pem))


def test_an_agent_asks_for_the_certificate_of_the_client(
    agent: StartAgent, connect: Connect, certificates: Certificates
) -> None:
    tls = ("-tls-cert", certificates.server, "-tls-key", certificates.key, "-tls-client-ca", certificates.ca)
    fake = agent(*tls)
    own, key = certificates.ca.parent / "client.pem", certificates.ca.parent / "client-key.pem"
    run_flow(
        connect(fake, insecure=False, ca_file=certificates.ca, client_certificate_file=own, client_key_file=str(key))
    )
    pems = {"client_certificate_pem": own.read_text(), "client_key_pem": key.read_bytes()}
    run_flow(connect(fake, insecure=False, ca_file=certificates.ca, **pems))
    with ApertureClient.new_client(fake.address, ca_file=certificates.ca) as client:
        flow = client.start_flow("checkout", PATIENT)
        assert flow.unreachable_reason in (UnreachableReason.MISCONFIGURED, UnreachableReason.UNAVAILABLE)
        flow.end()


def test_no_certificate_need_be_trusted(agent: StartAgent, connect: Connect, certificates: Certificates) -> None:
    fake = agent("-tls-cert", certificates.server, "-tls-key", certificates.key)
    run_flow(connect(fake, insecure=False, skip_verify=True, server_name="elsewhere"))


def test_spans_wait_and_go_together_as_told(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake, telemetry_batch=2, telemetry_interval=timedelta(hours=1), telemetry_queue=4)
    for _ in range(4):
        client.start_flow("checkout", PATIENT).end()
    client.close()
    report = fake.report()
    assert report["span_count"] == 4
    assert report["export_count"] >= 2


def test_a_span_waits_as_long_as_told(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent(), telemetry_interval=3600)
    client.start_flow("checkout", PATIENT).end()
    time.sleep(1.2)  # longer than it would wait by itself
    assert client.stats().spans_queued == 1


@pytest.mark.parametrize("seconds", [300, timedelta(minutes=5), 1e9])
def test_pings_may_be_asked_for(seconds: Any) -> None:
    ApertureClient.new_client("local:", keepalive_time=seconds, keepalive_timeout=1.5).close()
    ApertureClient.new_client("127.0.0.1:1", insecure=True, keepalive_time=seconds, keepalive_timeout=1.5).close()


PEM = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ca_pem": 1}, TypeError, "ca_pem: must be str or bytes, not int"),
        ({"ca_pem": "nothing"}, ValueError, "(?i)CA PEM.* has no certificate"),
        ({"client_certificate_file": 1}, TypeError, "client_certificate_file: must be str or os.PathLike, not int"),
        ({"client_key_file": b"\0"}, ValueError, "client"),
        ({"client_certificate_pem": Path("x")}, TypeError, "client_certificate_pem: must be str or bytes, not PosixP"),
        ({"client_certificate_pem": "x"}, ValueError, "client certificate PEM needs the client key PEM"),
        ({"client_key_pem": 1.0}, TypeError, "client_key_pem: must be str or bytes, not float"),
        ({"client_certificate_pem": PEM, "client_key_pem": PEM}, ValueError, "client certificate PEM"),
        ({"skip_verify": 1}, TypeError, "skip_verify: must be bool, not int"),
        ({"skip_verify": True, "insecure": True}, ValueError, "skip.verify"),
        ({"compression": Compression.Deflate}, ValueError, 'compression: is <Compression.Deflate: 1>; must be "gzip"'),
        ({"compression": "deflate"}, ValueError, 'compression: is \'deflate\'; must be "gzip" or "none"'),
        ({"compression": True}, TypeError, 'compression: must be "gzip", "none", None .*, not bool'),
        ({"compression": 2.0}, TypeError, "compression: must be .*, not float"),
        ({"metadata": 1}, TypeError, "metadata: must be a mapping of str to str, or pairs of them, not int"),
        ({"metadata": "ab"}, TypeError, "metadata: must be a mapping of str to str, or pairs of them, not str"),
        ({"metadata": ["ab"]}, TypeError, "metadata: entry 1 must be a pair"),
        ({"metadata": [("a", "b"), ("a",)]}, TypeError, "metadata: entry 2 must be a pair"),
        ({"metadata": {1: "secret"}}, TypeError, "metadata: the key of entry 1: must be str, not int"),
        ({"metadata": {"a": b"secret"}}, TypeError, "metadata: the value of entry 1: must be str, not bytes"),
        ({"metadata": {"a": "secret\n"}}, ValueError, "metadata entry 1 of 1"),
        ({"metadata": {"grpc-timeout": "secret"}}, ValueError, "metadata entry 1 of 1"),
        ({"keepalive_time": "1"}, TypeError, "keepalive_time: must be .*, not str"),
        ({"keepalive_time": -1}, ValueError, "keepalive_time: is -1; must be more than 0"),
        ({"keepalive_time": timedelta(0)}, ValueError, "keepalive_time: is 0:00:00; must be more than 0"),
        ({"keepalive_time": 10}, ValueError, "keepalive time is below 5 minutes"),
        ({"keepalive_timeout": 10}, ValueError, "keepalive timeout makes no sense"),
        ({"telemetry_queue": 0}, ValueError, "telemetry_queue: is 0; must be at least 1"),
        ({"telemetry_queue": 1.5}, TypeError, "telemetry_queue: must be int, not float"),
        ({"telemetry_batch": -1}, ValueError, "telemetry_batch: is -1; must be at least 1"),
        ({"telemetry_batch": True}, TypeError, "telemetry_batch: must be int, not bool"),
        ({"telemetry_interval": timedelta(seconds=-1)}, ValueError, "telemetry_interval: is -1 day, 23:59:59; must be"),
        ({"telemetry_interval": None, "telemetry_queue": 2**40}, ValueError, "telemetry_queue"),
        ({"max_labels": 0}, ValueError, "max_labels: is 0; must be at least 1"),
        ({"max_labels": 2**31}, ValueError, "max_labels"),
        ({"max_waiting": -1}, ValueError, "max_waiting: is -1; must be at least 1"),
        ({"max_waiting": "1"}, TypeError, "max_waiting: must be int, not str"),
        ({"cache_bytes": 1.5}, TypeError, "cache_bytes: must be int, not float"),
        ({"cache_bytes": 64}, ValueError, r"cache bytes is 64; use 1048576 \(1 MiB\) at least"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        ApertureClient.new_client(address="host:1", **options)
    assert "secret" not in str(raised.value)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the variables of the package, without the others."""

    def set_all(**variables: str) -> None:
        for name in ("AGENT_ADDRESS", "API_KEY", "AGENT_INSECURE", "AGENT_SKIP_VERIFY"):
            monkeypatch.delenv(f"APERTURE_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"APERTURE_{name}", value)

    return set_all


def test_the_environment_names_an_agent(agent: StartAgent, environment: Callable[..., None]) -> None:
    fake = agent()
    for number, insecure in enumerate(("true", "1")):
        environment(AGENT_ADDRESS=fake.address, API_KEY=f"key-{number}", AGENT_INSECURE=insecure, AGENT_SKIP_VERIFY="")
        client = ApertureClient.from_environment(user_agent="shop/1")
        client.wait_ready(DEADLINE)
        run_flow(client)
    report = fake.report()
    assert sorted(report["api_keys"]) == ["key-0", "key-1"]
    assert all(name.startswith("shop/1") for name in report["user_agents"])


def test_the_environment_can_say_what_tls_does(
    agent: StartAgent, environment: Callable[..., None], certificates: Certificates
) -> None:
    fake = agent("-tls-cert", certificates.server, "-tls-key", certificates.key)
    environment(AGENT_ADDRESS=fake.address, AGENT_INSECURE="0", AGENT_SKIP_VERIFY="1")
    client = ApertureClient.from_environment()
    client.wait_ready(DEADLINE)
    run_flow(client)


def test_options_that_are_given_go_before_the_environment(environment: Callable[..., None]) -> None:
    environment(AGENT_ADDRESS="no port", API_KEY="\n", AGENT_INSECURE="perhaps", AGENT_SKIP_VERIFY="perhaps")
    given: dict[str, Any] = {"address": "local:", "api_key": "k", "insecure": False, "skip_verify": False}
    with ApertureClient.from_environment(**given) as client:
        assert repr(client) == "<ApertureClient local:>"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "APERTURE_AGENT_ADDRESS: is not set"),
        ({"AGENT_ADDRESS": ""}, "APERTURE_AGENT_ADDRESS: is not set"),
        ({"AGENT_ADDRESS": "no port"}, r"address.*\(address is from APERTURE_AGENT_ADDRESS\)"),
        ({"AGENT_ADDRESS": "host:1", "API_KEY": "secret\n"}, r"API key.*, api_key is from APERTURE_API_KEY\)"),
        ({"AGENT_ADDRESS": "host:1", "AGENT_INSECURE": "yes"}, "APERTURE_AGENT_INSECURE: is 'yes'; must be true, f"),
        ({"AGENT_ADDRESS": "host:1", "AGENT_SKIP_VERIFY": "True"}, "APERTURE_AGENT_SKIP_VERIFY: is 'True'; must be"),
        (
            {"AGENT_ADDRESS": "host:1", "AGENT_INSECURE": "true", "AGENT_SKIP_VERIFY": "true"},
            "insecure is from APERTURE_AGENT_INSECURE, skip_verify is from APERTURE_AGENT_SKIP_VERIFY",
        ),
    ],
)
def test_a_wrong_variable_is_named(environment: Callable[..., None], variables: dict[str, str], message: str) -> None:
    environment(**variables)
    with pytest.raises(InvalidArgumentError, match=message) as raised:
        ApertureClient.from_environment()
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_policy_file_that_the_environment_names_is_missed_there(environment: Callable[..., None]) -> None:
    environment(AGENT_ADDRESS="local:/absent/policies.yaml")
    with pytest.raises(PolicyError, match=r"/absent/policies\.yaml.*APERTURE_AGENT_ADDRESS"):
        ApertureClient.from_environment()


def test_nothing_of_the_options_is_shown() -> None:
    with ApertureClient.new_client("local:", api_key="secret", metadata={"x": "secret"}, client_key_pem=None) as client:
        assert "secret" not in repr(client) + repr(vars(client)) + repr(client._options.structure)
