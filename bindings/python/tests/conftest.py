import gc
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from processes import BUILD, DEADLINE, FakeAgent

from aperture_sdk import _library
from aperture_sdk.client import ApertureClient


@pytest.fixture(scope="session", autouse=True)
def no_handle_is_left() -> Iterator[None]:
    """What the tests opened is closed at their end: clients, flows and calls."""
    yield
    gc.collect()
    assert _library.load().live_handles() == 0


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A file with a policy in which flows at "checkout" wait for each other's end."""
    path = tmp_path / "policies.yaml"
    path.write_text(
        """
blueprint: concurrency-scheduling/base
policy:
  policy_name: one-at-a-time
  concurrency_scheduler:
    max_concurrency: 1
    concurrency_limiter: {max_inflight_duration: 3600s}
    selectors: [{control_point: checkout}]
"""
    )
    return path


@pytest.fixture
def policy_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a rate limiting policy: so many tokens for each user, of which none come back soon."""

    def write(capacity: int = 3, control_point: str = "checkout") -> Path:
        path = tmp_path / "policy.yaml"
        path.write_text(
            f"""
blueprint: rate-limiting/base
policy:
  policy_name: test
  rate_limiter:
    bucket_capacity: {capacity}
    fill_amount: 1
    parameters:
      interval: 3600s
      limit_by_label_key: user_id
    selectors:
      - control_point: {control_point}
"""
        )
        return path

    return write


@pytest.fixture
def limited(policy_file: Callable[..., Path]) -> Iterator[ApertureClient]:
    """A client that decides in this process: three flows of each user at the control point checkout."""
    with ApertureClient.new_client(address=f"local:{policy_file()}") as client:
        yield client


@pytest.fixture
def open_client() -> Iterator[ApertureClient]:
    """A client that decides in this process and accepts everything."""
    with ApertureClient.new_client(address="local:") as client:
        yield client


@pytest.fixture
def agent() -> Iterator[Callable[..., FakeAgent]]:
    """Start fake agents that stop at the end of the test."""
    started: list[FakeAgent] = []

    def start(*flags: object) -> FakeAgent:
        started.append(FakeAgent(*flags))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def connect() -> Iterator[Callable[..., ApertureClient]]:
    """Make clients, without TLS, that are ready, and close them at the end of the test."""
    made: list[ApertureClient] = []

    def make(agent: FakeAgent, **options: object) -> ApertureClient:
        options.setdefault("insecure", True)
        client = ApertureClient.new_client(address=agent.address, **options)  # type: ignore[arg-type]
        made.append(client)
        client.wait_ready(DEADLINE)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def closed_port() -> Iterator[str]:
    """The address of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


class Certificates(NamedTuple):
    ca: Path
    other_ca: Path
    server: Path
    key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of a server on loopback."""
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run([str(BUILD / "testcert"), str(folder)], check=True, timeout=DEADLINE)
    return Certificates(folder / "ca.pem", folder / "other-ca.pem", folder / "server.pem", folder / "server-key.pem")
