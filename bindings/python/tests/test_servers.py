"""Servers that import an application, with its client, and fork then: gunicorn, uWSGI, celery."""

import collections
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from processes import DEADLINE, PYTHON, FakeAgent, Server, python_environment

SERVICES = Path(__file__).resolve().parent / "services"
SCRIPTS = Path(sys.executable).parent

WORKERS = 3
CLIENTS = 4

StartAgent = Callable[..., FakeAgent]
WritePolicy = Callable[..., Path]


class Answers:
    """The statuses that each worker has given to each user."""

    def __init__(self) -> None:
        self.statuses: dict[tuple[int, str], list[int]] = collections.defaultdict(list)
        self.failed: list[str] = []

    @property
    def count(self) -> int:
        return sum(map(len, self.statuses.values()))

    @property
    def workers(self) -> set[int]:
        return {worker for worker, _ in self.statuses}


class WebServer:
    """A server of tests/services/web.py on a Unix socket, in a process group of its own."""

    def __init__(self, name: str, address: str, socket_path: Path) -> None:
        self.name = name
        self._socket_path = str(socket_path)
        self._fifo = fifo_beside(socket_path)
        self.output = ""
        self.process = subprocess.Popen(
            SERVERS[name](socket_path),
            cwd=SERVICES,
            env=python_environment({"SERVICE_ADDRESS": address}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # A pipe that nobody reads would stop the server once it is full.
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    def ask(self, user: str) -> tuple[int, int]:
        """Send one request, and return which worker has answered it and how."""
        connection = http.client.HTTPConnection("localhost", timeout=DEADLINE)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.settimeout(DEADLINE)
            connection.sock.connect(self._socket_path)
            connection.request("GET", f"/{user}")
            response = connection.getresponse()
            return int(response.read()), response.status
        finally:
            connection.close()

    def wait(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                self.ask("nobody")
                return
            except (OSError, http.client.HTTPException, ValueError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server does not answer: {self.output}") from None
                time.sleep(0.02)

    def load(self, answers: Answers, per_client: int = 60) -> None:
        """Send requests for two users from several threads, until every worker has answered enough of them."""
        lock = threading.Lock()
        deadline = time.monotonic() + DEADLINE
        former = answers.workers

        def enough() -> bool:
            with lock:
                new = answers.workers - former
                return len(new) == WORKERS and all(len(answers.statuses[worker, "alice"]) > 3 for worker in new)

        def send() -> None:
            number = 0
            while number < per_client or not enough():
                user = ("alice", "bob")[number % 2]
                number += 1
                try:
                    worker, status = self.ask(user)
                except Exception as error:
                    answers.failed.append(repr(error))
                    return
                with lock:
                    answers.statuses[worker, user].append(status)
                if time.monotonic() > deadline:
                    answers.failed.append("not every worker has answered")
                    return

        threads = [threading.Thread(target=send) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers.failed == [], self.output

    def stop(self) -> None:
        """Let the server stop in order."""
        if self.process.poll() is None:
            if self._fifo.exists():
                self._fifo.write_text("q")
            else:
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                self._reading.join()
                raise AssertionError(f"the server does not stop: {self.output}") from None
        self._reading.join()
        # What is left of its group was forgotten by the server.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"the server has left workers behind: {self.output}")


def gunicorn(*options: str) -> Callable[[Path], list[str]]:
    return lambda path: [
        *(*PYTHON, "-m", "gunicorn", "--no-control-socket", "--preload"),
        *("--workers", str(WORKERS), "--bind", f"unix:{path}", *options, "web:application"),
    ]


def fifo_beside(path: Path) -> Path:
    return path.with_suffix(".fifo")


def uwsgi(path: Path) -> list[str]:
    # It is stopped through the file: after SIGTERM a worker that is still finishing a request ends without atexit.
    return [
        *(str(SCRIPTS / "uwsgi"), "--master", "--enable-threads", "--need-app"),
        *("--processes", str(WORKERS), "--http-socket", str(path), "--wsgi-file", "web.py"),
        *("--master-fifo", str(fifo_beside(path))),
    ]


SERVERS: dict[str, Callable[[Path], list[str]]] = {
    "gunicorn": gunicorn(),
    "gunicorn with threads": gunicorn("--worker-class", "gthread", "--threads", "4"),
    "gunicorn with gevent": gunicorn("--worker-class", "gevent"),
    "uwsgi": uwsgi,
    "uwsgi with threads": lambda path: [*uwsgi(path), "--threads", "4"],
}


@pytest.fixture(params=SERVERS)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], WebServer]]:
    """Start a server whose workers share what the address names, and stop it in the end."""
    if "uwsgi" in request.param and not (SCRIPTS / "uwsgi").exists():
        pytest.skip("uWSGI could not be built: requirements-uwsgi.txt says what it needs")
    started: list[WebServer] = []

    def start(address: str) -> WebServer:
        started.append(WebServer(request.param, address, tmp_path / "web.sock"))
        started[-1].wait()
        return started[-1]

    yield start
    for one in started:
        one.stop()
        assert one.process.returncode == 0, one.output
        for word in ("Traceback", "ApertureClient", "closing the client", "fatal", "SIGKILL", "TIMEOUT"):
            assert word not in one.output


def test_each_worker_decides_for_itself_by_a_local_policy(
    serve: Callable[[str], WebServer], policy_file: WritePolicy
) -> None:
    server = serve(f"local:{policy_file()}")
    answers = Answers()
    server.load(answers)
    assert len(answers.workers) == WORKERS
    assert server.process.pid not in answers.workers
    for (worker, user), statuses in answers.statuses.items():
        ran = min(3, len(statuses))
        assert sorted(statuses) == [200] * ran + [429] * (len(statuses) - ran), (worker, user)


def test_all_workers_share_the_engine_of_the_machine(
    serve: Callable[[str], WebServer], policy_file: WritePolicy
) -> None:
    with Server("aperture-local", "--listen", "127.0.0.1:0", policy_file(capacity=25)) as engine:
        server = serve(engine.address)
        answers = Answers()
        server.load(answers)
        assert len(answers.workers) == WORKERS
        for user in ("alice", "bob"):
            statuses = [status for (_, of), some in answers.statuses.items() if of == user for status in some]
            assert sorted(statuses) == [200] * 25 + [429] * (len(statuses) - 25)
        server.stop()


def test_an_agent_is_asked_once_for_each_request_and_gets_every_span(
    serve: Callable[[str], WebServer], agent: StartAgent
) -> None:
    fake = agent()
    server = serve(fake.address)
    answers = Answers()
    server.load(answers)
    assert len(answers.workers) == WORKERS
    assert {status for statuses in answers.statuses.values() for status in statuses} == {200}
    server.stop()
    report = fake.report()
    assert report["check_count"] == answers.count + 2  # those of the import and of the wait
    closed = all(f"closed in {process}." in server.output for process in answers.workers)
    assert closed, server.output
    assert report["span_count"] == report["check_count"], server.output


def test_workers_come_and_go(policy_file: WritePolicy, tmp_path: Path) -> None:
    """SIGHUP lets gunicorn replace its workers, and one that dies is replaced too."""
    server = WebServer("gunicorn", f"local:{policy_file()}", tmp_path / "web.sock")
    try:
        server.wait()
        answers = Answers()
        server.load(answers)
        first = answers.workers
        server.process.send_signal(signal.SIGHUP)
        await_replacement(server, first)
        server.load(answers)
        second = answers.workers - first
        assert len(second) == WORKERS
        os.kill(min(second), signal.SIGKILL)
        await_replacement(server, {min(second)})
        # gunicorn loses a signal for a worker that it has just forked, and would wait for it for half a minute.
        deadline = time.monotonic() + DEADLINE
        while server.ask("nobody")[0] in second:
            assert time.monotonic() < deadline, server.output
        for (worker, user), statuses in answers.statuses.items():
            ran = min(3, len(statuses))
            assert sorted(statuses) == [200] * ran + [429] * (len(statuses) - ran), (worker, user)
    finally:
        server.stop()
    assert server.process.returncode == 0, server.output


def await_replacement(server: WebServer, gone: set[int]) -> None:
    """Wait until the workers that are to go have gone, and as many as there should be can answer."""
    deadline = time.monotonic() + DEADLINE
    while any(Path(f"/proc/{worker}").exists() for worker in gone):
        assert time.monotonic() < deadline, server.output
        time.sleep(0.02)
    server.wait()


SENDING = """
import json
from tasks import decide_later
results = [decide_later.delay("alice") for _ in range(24)]
print(json.dumps([result.get(timeout=30, interval=0.02) for result in results]))
"""


@pytest.mark.parametrize("decider", ["local", "agent"])
def test_the_prefork_pool_of_celery(decider: str, agent: StartAgent, policy_file: WritePolicy, tmp_path: Path) -> None:
    for name in ("messages", "control", "results"):
        (tmp_path / name).mkdir()
    fake = agent()
    address = fake.address if decider == "agent" else f"local:{policy_file()}"
    environment = python_environment({"SERVICE_FOLDER": str(tmp_path)})
    worker = subprocess.Popen(
        [
            *(*PYTHON, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"),
            *("-O", "fair", "--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        cwd=SERVICES,
        env={**environment, "SERVICE_ADDRESS": address, "C_FORCE_ROOT": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        sent = subprocess.run(
            [*PYTHON, "-c", SENDING],
            cwd=SERVICES,
            env=environment,
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            check=False,
        )
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=DEADLINE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    assert sent.returncode == 0, sent.stderr + output
    assert worker.returncode == 0, output
    assert "Traceback" not in output
    assert "closing the client" not in output
    results = json.loads(sent.stdout)
    ran = collections.Counter(process for process, run in results if run)
    assert worker.pid not in ran
    if decider == "agent":
        assert sum(ran.values()) == 24
        report = fake.report()
        assert (report["check_count"], report["span_count"]) == (25, 25)
    else:
        asked = collections.Counter(process for process, _ in results)
        assert ran == {process: min(3, count) for process, count in asked.items()}
