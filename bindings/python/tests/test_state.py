"""How the connection of a client is."""

import asyncio
import time
from typing import Callable

import pytest
from children import in_child
from processes import DEADLINE, FakeAgent

from aperture_sdk.client import ApertureClient, ConnectionState

StartAgent = Callable[..., FakeAgent]
Connect = Callable[..., ApertureClient]


def expect(client: ApertureClient, state: ConnectionState) -> None:
    """Wait until the client is in a state."""
    deadline = time.monotonic() + DEADLINE
    while client.state() is not state:
        assert time.monotonic() < deadline, client.state()
        time.sleep(0.005)


def test_a_client_that_decides_in_this_process_is_always_ready(open_client: ApertureClient) -> None:
    assert open_client.state() is ConnectionState.READY


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_client_is_ready_until_its_agent_is_gone(agent: StartAgent, connect: Connect) -> None:
    fake = agent()
    client = connect(fake)
    assert client.state() is ConnectionState.READY
    in_child(lambda: expect(client, ConnectionState.READY))
    fake.stop()
    expect(client, ConnectionState.FAILING)
    client.close()
    assert client.state() is ConnectionState.CLOSED
    in_child(lambda: expect(client, ConnectionState.CLOSED))


def test_a_client_whose_agent_is_down_says_so(closed_port: str) -> None:
    with ApertureClient.new_client(closed_port, insecure=True) as client:
        assert client.state() in (ConnectionState.IDLE, ConnectionState.CONNECTING, ConnectionState.FAILING)
        expect(client, ConnectionState.FAILING)


def test_a_client_that_is_being_closed_is_closed(agent: StartAgent, connect: Connect) -> None:
    client = connect(agent("-export-delay", "100ms"))
    client.start_flow("checkout").end()

    async def main() -> None:
        closing = client.close()
        assert client.state() is ConnectionState.CLOSED
        await closing
        assert client.state() is ConnectionState.CLOSED

    asyncio.run(main())
