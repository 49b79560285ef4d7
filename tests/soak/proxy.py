"""A TCP proxy that misbehaves as it is told: it slows, stalls, refuses, and cuts connections in the middle of a call.

It runs in a thread of its own. Its methods may be called from any other.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Optional

CHUNK = 1 << 16
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
CALL_SECONDS = 30  # a call from another thread takes longer only when something hangs


def reserve_port() -> socket.socket:
    """Bind a port of loopback without listening: others may listen there, but nobody else is given that port."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


class Link:
    """One connection: both sides, and what is going to happen to it."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []
        self.cut_answer: Optional[bool] = None  # True: in the middle of what the agent says next; False: the client
        self.reset = False

    def abort(self) -> None:
        for writer in self.writers:
            connection = writer.get_extra_info("socket")
            if self.reset and connection is not None:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            writer.transport.abort()


class Proxy:
    """Forwards connections to an agent of this machine."""

    def __init__(self, agent_port: int, seed: int) -> None:
        self.connections = 0
        self.cuts = 0
        self.cuts_halfway = 0
        self._agent_port = agent_port
        self._random = random.Random(seed)  # noqa: S311  # a schedule, not a secret
        self._holder = reserve_port()
        self.port: int = self._holder.getsockname()[1]
        self._delay = 0.0
        self._dropping = False
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: Optional[asyncio.AbstractServer] = None
        self._loop = asyncio.new_event_loop()
        self._flowing: asyncio.Event
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()
        self._call(self._start())

    # ---- What other threads ask for ----

    def slow(self, seconds: float) -> None:
        """Hold back everything for a while on its way; 0 for not."""
        self._delay = seconds

    def stall(self, stalled: bool) -> None:
        """Forward nothing, and close nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear if stalled else self._flowing.set)

    def cut(self, halfway: bool) -> None:
        """Cut all connections: at once, or in the middle of what is said next, in either direction."""
        self._call(self._cut(halfway))

    def refuse(self, refused: bool) -> None:
        """Cut all connections, and refuse new ones."""
        self._call(self._refuse(refused))

    def drop(self, dropping: bool) -> None:
        """Cut all connections, and take new ones only to drop them."""
        self._dropping = dropping
        if dropping:
            self._call(self._cut(False))

    def close(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()
        self._holder.close()

    # ---- What happens in the thread ----

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    async def _start(self) -> None:
        self._flowing = asyncio.Event()  # here, because Python 3.9 ties it to the loop that runs
        self._flowing.set()
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _cut(self, halfway: bool) -> None:
        for link in list(self._links):
            self.cuts += 1
            link.reset = self._random.random() < 0.5
            if halfway:
                self.cuts_halfway += 1
                link.cut_answer = self._random.random() < 0.5
            else:
                link.abort()

    async def _refuse(self, refused: bool) -> None:
        if refused:
            if self._server is not None:
                self._server.close()
                self._server = None
            await self._cut(False)
        elif self._server is None:
            await self._listen()

    async def _close(self) -> None:
        await self._refuse(True)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        link = Link()
        link.writers.append(client_writer)
        self._links.add(link)
        self.connections += 1
        try:
            if self._dropping:
                return
            reader, writer = await asyncio.open_connection("127.0.0.1", self._agent_port)
            link.writers.append(writer)
            pumps = [
                asyncio.ensure_future(self._pump(link, client_reader, writer, False)),
                asyncio.ensure_future(self._pump(link, reader, client_writer, True)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the agent is down, or the soak ends
        finally:
            link.abort()
            self._links.discard(link)

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool
    ) -> None:
        """Forward one direction until either side is gone."""
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self._delay > 0:
                    await asyncio.sleep(self._delay)
                await self._flowing.wait()
                if link.cut_answer is answers and len(chunk) > 1:
                    writer.write(chunk[: len(chunk) // 2])
                    await asyncio.sleep(0)  # what is written has left this process: the buffers of loopback are empty
                    return
                writer.write(chunk)
                await writer.drain()
