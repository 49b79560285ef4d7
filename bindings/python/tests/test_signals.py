"""Signals do in a process with the library what they did without it."""

import signal
import subprocess
import time
from typing import Callable

import pytest
from processes import DEADLINE, FakeAgent, run_python, start_python

StartAgent = Callable[..., FakeAgent]


def run_until(program: "subprocess.Popen[str]", act: Callable[[], object], word: str = "ready") -> tuple[str, str]:
    """Wait until a program says a word, do something then, and return what else the program writes until its end."""
    assert program.stdout is not None
    try:
        line = program.stdout.readline()
        if line == word + "\n":
            act()
        output, errors = program.communicate(timeout=DEADLINE)
    finally:
        program.kill()
        program.wait()
    assert line == word + "\n", errors
    return output, errors


WAITING = """
import sys, threading, time
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams

client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
params = FlowParams(check_timeout=timedelta(seconds=60))
for _ in range(4):
    threading.Thread(target=client.start_flow, args=("checkout", params), daemon=True).start()
print("ready", flush=True)
WAIT
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
@pytest.mark.parametrize("wait", ["client.start_flow('checkout', params)", "time.sleep(60)"])
def test_a_signal_without_a_handler_ends_the_process(agent: StartAgent, number: signal.Signals, wait: str) -> None:
    program = start_python(WAITING.replace("WAIT", wait), agent("-hang").address)

    def act() -> None:
        time.sleep(0.2)  # so that it waits
        program.send_signal(number)

    output, errors = run_until(program, act)
    assert (output, program.returncode) == ("", -number)
    if number == signal.SIGINT:
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
    else:
        assert errors == ""


def test_handlers_run_several_thousand_times_a_second_beside_flows(agent: StartAgent) -> None:
    code = """
import asyncio, gc, os, signal, subprocess, sys, threading, time
from datetime import timedelta
from aperture_sdk import _library
from aperture_sdk.client import ApertureClient, FlowParams

params = FlowParams(check_timeout=timedelta(seconds=30))
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
local = ApertureClient.new_client(address="local:")
signals = dict.fromkeys((signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2), 0)

def count(number, _):
    signals[number] += 1

for number in signals:
    signal.signal(number, count)

sys.setswitchinterval(0.0002)  # so that many threads can send and count in turn
flows = [0] * 6
failed = []
done = threading.Event()

def work(number, client):
    while not done.is_set():
        flow = client.start_flow("checkout", params)
        if not flow.success or flow.end().get_error() is not None:
            failed.append(flow.error())
        flows[number] += 1

async def work_in_a_loop():
    while not done.is_set():
        flow = await client.start_flow("checkout", params)
        if not flow.success or (await flow.end()).get_error() is not None:
            failed.append(flow.error())
        flows[4] += 1

def send():
    while not done.is_set():
        for thread in threads:
            signal.pthread_kill(thread.ident, signal.SIGUSR2)  # on a thread that is in the library, most likely

threads = [threading.Thread(target=work, args=(number, (client, local)[number % 2])) for number in range(4)]
threads.append(threading.Thread(target=asyncio.run, args=(work_in_a_loop(),)))
sender = threading.Thread(target=send)
for thread in (*threads, sender):
    thread.start()
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
other = subprocess.Popen([sys.executable, "-c", '''
import os, signal, time
parent = os.getppid()
while os.getppid() == parent:
    os.kill(parent, signal.SIGUSR1)
    time.sleep(0.0001)
'''])
deadline = time.monotonic() + 25
while (min(*signals.values(), *flows) < 100 or sum(signals.values()) < 5000) and time.monotonic() < deadline:
    flow = local.start_flow("checkout")
    flow.end()
    flows[5] += 1
signal.setitimer(signal.ITIMER_REAL, 0)
other.kill()
other.wait()
done.set()
for thread in (*threads, sender):
    thread.join()
assert failed == [], failed[:3]
assert client.stats().flows_accepted == flows[0] + flows[2] + flows[4]
assert local.stats().flows_ended == flows[1] + flows[3] + flows[5]
client.close(30)
local.close()
flow = None
gc.collect()
print(min(signals.values()), sum(signals.values()), min(flows), _library.load().live_handles())
"""
    done = run_python(code, agent().address)
    assert (done.stderr, done.returncode) == ("", 0)
    least, signals, flows, handles = map(int, done.stdout.split())
    assert least >= 100
    assert signals >= 5000
    assert flows >= 100
    assert handles == 0


def test_a_broken_pipe_never_ends_the_process(agent: StartAgent) -> None:
    """The host gives SIGPIPE its default back, as many programs do, and the agent dies in the middle of flows."""
    code = """
import signal, sys, threading, time
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams

params = FlowParams(check_timeout=timedelta(seconds=1))
client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
client.start_flow("checkout", params).end()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
done = threading.Event()

def work():
    while not done.is_set():
        client.start_flow("checkout", params).end()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
while client.stats().flows_accepted < 100:
    time.sleep(0.001)
print("ready", flush=True)
deadline = time.monotonic() + 20
while client.stats().flows_unreachable < 100 and time.monotonic() < deadline:
    time.sleep(0.001)
done.set()
for thread in threads:
    thread.join()
print(client.stats().flows_unreachable >= 100)
client.close(0.1)
"""
    fake = agent()
    program = start_python(code, fake.address)
    output, errors = run_until(program, fake.kill)
    assert (output, errors, program.returncode) == ("True\n", "", 0)


def test_sigpipe_of_the_host_is_its_own(agent: StartAgent) -> None:
    """With its default it ends a host that writes to a broken pipe; as Python has it, ignored, it does not."""
    code = """
import os, signal, sys
from aperture_sdk.client import ApertureClient
client = ApertureClient.new_client(address="local:")
client.start_flow("checkout").end()
reading, writing = os.pipe()
os.close(reading)
try:
    os.write(writing, b"x")
except BrokenPipeError:
    print("error", flush=True)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.write(writing, b"x")
"""
    done = run_python(code)
    assert (done.stdout, done.returncode) == ("error\n", -signal.SIGPIPE)


@pytest.mark.parametrize("enabled", ["before", "after"])
def test_faulthandler_reports_a_crash_of_the_host(enabled: str) -> None:
    code = f"""
import ctypes, faulthandler, threading
from aperture_sdk.client import ApertureClient

if "{enabled}" == "before":
    faulthandler.enable()
else:
    faulthandler.disable()
client = ApertureClient.new_client(address="local:")
faulthandler.enable()

def work():
    for _ in range(2000):
        client.start_flow("checkout").end()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(client.stats().flows_ended, flush=True)
ctypes.string_at(0)
"""
    done = run_python(code)
    assert (done.stdout, done.returncode) == ("8000\n", -signal.SIGSEGV)
    assert done.stderr.startswith("Fatal Python error: Segmentation fault\n")
    assert "string_at" in done.stderr


def test_faulthandler_shows_where_threads_wait(agent: StartAgent) -> None:
    """Its signal interrupts threads that are in the library, and does not disturb them."""
    code = """
import faulthandler, os, signal, sys, threading, time
from datetime import timedelta
from aperture_sdk.client import ApertureClient, FlowParams

client = ApertureClient.new_client(address=sys.argv[1], insecure=True)
client.wait_ready(30)
params = FlowParams(check_timeout=timedelta(seconds=30))
faulthandler.register(signal.SIGUSR1)
flows = []
thread = threading.Thread(target=lambda: flows.append(client.start_flow("checkout", params)))
thread.start()
time.sleep(0.1)
for _ in range(20):
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
thread.join()
print(flows[0].decision.name, flows[0].end().get_error())
client.close()
"""
    done = run_python(code, agent("-delay", "500ms").address)
    assert (done.stdout, done.returncode) == ("Accepted None\n", 0)
    assert "in start_flow" in done.stderr
