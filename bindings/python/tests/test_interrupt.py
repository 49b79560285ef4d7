"""Ctrl-C takes effect at once, whatever the library waits for."""

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable

from processes import DEADLINE, FakeAgent, run_python, start_python

StartAgent = Callable[..., FakeAgent]

# Says when it is about to wait, and how long it was from the signal to the exception. Then it goes on using the client.
WAITING = """
import gc, json, signal, sys, threading, time
from datetime import timedelta
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams

address, what = sys.argv[1:]
client = ApertureClient.new_client(address=address, insecure=True)
if what not in ("wait_ready", "cache"):
    client.wait_ready(30)
params = FlowParams(check_timeout=timedelta(seconds=60))
flow = client.start_flow("checkout", params) if what in ("end", "turn") else None
print("waiting", flush=True)
try:
    if what == "end":
        flow.end()
    elif what == "wait_ready":
        client.wait_ready(60)
    elif what == "cache":
        client.cache_set("checkout", "v", timedelta(hours=1), result_cache_key="key", timeout=60)
    else:
        client.start_flow("checkout", params)
except KeyboardInterrupt:
    print("interrupted", flush=True)
flow = None
gc.collect()
deadline = time.monotonic() + 20
while client.stats().calls_pending and time.monotonic() < deadline:
    time.sleep(0.01)
print(json.dumps([client.stats().calls_pending, client.stats().flows_unreachable]), flush=True)
client.close(1)
print(_library.load().live_handles(), flush=True)
"""


def interrupt(address: str, what: str) -> tuple[float, list[int], int]:
    """Interrupt a process that waits. Return how long it went on waiting, its counters, and the handles it has left."""
    process = start_python(WAITING, address, what)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.35)  # longer than a slice, so that it is in the middle of its wait
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        took = time.monotonic() - sent
        output, errors = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, errors
        counters, handles = output.splitlines()
        return took, json.loads(counters), int(handles)
    finally:
        process.kill()
        process.wait()


def test_ctrl_c_interrupts_a_check_and_cancels_it_at_the_agent(agent: StartAgent) -> None:
    fake = agent("-hang")
    took, (pending, _), handles = interrupt(fake.address, "check")
    assert took < 5  # 0.1 s on an idle machine; without slices it would be 60
    assert pending == 0
    assert handles == 0
    assert fake.report()["cancelled_count"] == 1


def test_ctrl_c_interrupts_a_start_that_waits_in_this_process(policies: Path) -> None:
    took, (pending, unreachable), handles = interrupt(f"local:{policies}", "turn")
    assert took < 5
    assert pending == 0
    assert unreachable == 1  # it was cancelled
    assert handles == 0


def test_ctrl_c_interrupts_an_end_which_goes_on(agent: StartAgent) -> None:
    fake = agent("-in-flight", 1, "-flow-end-delay", "900ms")
    _, (pending, _), handles = interrupt(fake.address, "end")
    assert pending == 0
    assert handles == 0
    report = fake.report()
    assert report["flow_end_count"] == 1


def test_ctrl_c_interrupts_wait_ready(closed_port: str) -> None:
    took, (pending, _), handles = interrupt(closed_port, "wait_ready")
    assert took < 5
    assert pending == 0
    assert handles == 0


def test_ctrl_c_interrupts_a_call_to_the_cache() -> None:
    with socket.socket() as silent:  # takes connections, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        took, (pending, _), handles = interrupt(f"127.0.0.1:{silent.getsockname()[1]}", "cache")
    assert took < 5
    assert pending == 0
    assert handles == 0


def test_an_interrupt_between_the_library_and_python_loses_no_flow() -> None:
    """Signals at any moment, thousands of them, leave no handle behind."""
    code = """
import gc, signal, sys
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient

class Stop(BaseException):
    pass

armed = False

def stop(*_):
    global armed
    if armed:
        armed = False
        raise Stop

client = ApertureClient.new_client(address="local:")
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 0.000123, 0.000123)
stops = started = 0
while stops < 5000:
    try:
        while True:
            armed = True
            flow = client.start_flow("checkout")
            flow.end()
            started += 1
    except Stop:
        stops += 1
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
flow = None
gc.collect()
assert client.start_flow("checkout").end().get_error() is None
gc.collect()
client.close()
print(started > 0, _library.load().live_handles())
"""
    done = run_python(code)
    assert done.stdout.split()[0] == "True", done.stderr
    # An exception inside a finalizer, which Python can only report, costs the handle of that flow.
    ignored = done.stderr.count("Exception ignored in: <function Flow.__del__")
    assert int(done.stdout.split()[1]) <= ignored, done.stderr


def test_nothing_is_written_to_stdout_or_stderr(closed_port: str) -> None:
    code = """
import sys
from aperture_sdk.client import ApertureClient
client = ApertureClient.new_client(address=sys.argv[1], insecure=True, api_key="k")
client.start_flow("checkout").end()
client.close(0)
"""
    done: subprocess.CompletedProcess[str] = run_python(code, closed_port)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
