"""Runs the conformance cases with the Python package: blocking, or with --asyncio in an event loop.

See tests/conformance/README.md.
"""

import asyncio
import base64
import ctypes
import dataclasses
import gc
import json
import os
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from datetime import timedelta
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from aperture_sdk import check
from aperture_sdk.cache import LookupStatus
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowStatus
from opentelemetry import baggage, context

ASYNCIO = "--asyncio" in sys.argv

clients = {}
flows = {}
begun = {}


class Step:
    """The arguments of a step, in their order."""

    def __init__(self, words):
        self.words = [tuple(unquote_to_bytes(part) for part in word.split("=")) for word in words]

    def bytes(self, name):
        return next((value for key, value in self.words if key == name.encode()), None)

    def text(self, name):
        value = self.bytes(name)
        return None if value is None else decode(value)

    def number(self, name):
        value = self.bytes(name)
        return None if value is None else int(value)

    def time(self, name):
        nanoseconds = self.number(name)
        return None if nanoseconds is None else timedelta(microseconds=nanoseconds / 1000)

    def flag(self, name):
        return self.text(name) == "true"

    def texts(self, name):
        return [decode(value) for key, value in self.words if key == name.encode()]

    def members(self, prefix):
        return {
            decode(key)[len(prefix) :]: decode(value) for key, value in self.words if key.startswith(prefix.encode())
        }

    def given(self, **options):
        """Return the options that the step has: how to read each of them, and under which name."""
        return {option: read(name) for option, (read, name) in options.items() if self.bytes(name) is not None}

    @property
    def client(self):
        return clients[self.number("client")]

    @property
    def flow(self):
        return flows[self.number("flow")]


def decode(value):
    return value.decode("utf-8", "surrogateescape")


async def settle(outcome):
    """Wait for what the package returns, as a program of this kind does."""
    return await outcome if ASYNCIO else outcome


OPERATIONS = {}


def operation(function):
    """Make a function an operation: it takes a step and returns the answer, or raises."""
    OPERATIONS[function.__name__.rstrip("_")] = function
    return function


@operation
async def open_(step):
    options = step.given(
        api_key=(step.text, "api_key"),
        ca_file=(step.text, "ca_file"),
        ca_pem=(step.text, "ca_pem"),
        server_name=(step.text, "server_name"),
        client_certificate_file=(step.text, "client_certificate_file"),
        client_key_file=(step.text, "client_key_file"),
        client_certificate_pem=(step.text, "client_certificate_pem"),
        client_key_pem=(step.text, "client_key_pem"),
        user_agent=(step.text, "user_agent"),
        compression=(step.text, "compression"),
        insecure=(step.flag, "insecure"),
        skip_verify=(step.flag, "skip_verify"),
        telemetry=(step.flag, "telemetry"),
        grpc_timeout=(step.time, "flow_end_timeout_ns"),
        keepalive_time=(step.time, "keepalive_time_ns"),
        keepalive_timeout=(step.time, "keepalive_timeout_ns"),
        telemetry_interval=(step.time, "telemetry_interval_ns"),
        telemetry_queue=(step.number, "telemetry_queue"),
        telemetry_batch=(step.number, "telemetry_batch"),
        max_pending_calls=(step.number, "max_pending_calls"),
    )
    metadata = step.members("metadata.")
    if metadata:
        options["metadata"] = metadata
    clients[step.number("client")] = ApertureClient.new_client(step.text("address"), **options)


@operation
async def from_environment(step):
    variables = step.members("env.")
    os.environ.update(variables)
    try:
        clients[step.number("client")] = ApertureClient.from_environment()
    finally:
        for name in variables:
            del os.environ[name]


@operation
async def wait_ready(step):
    await settle(step.client.wait_ready(step.time("timeout_ns")))


@operation
async def state(step):
    return {"state": step.client.state().name.lower()}


@operation
async def stats(step):
    return step.client.stats()._asdict()


@operation
async def close(step):
    await settle(step.client.close(step.time("timeout_ns")))


def params(step):
    """Return the params of a step, None when it has none."""
    options = step.given(
        check_timeout=(step.time, "check_timeout_ns"),
        ramp_mode=(step.flag, "ramp_mode"),
        result_cache_key=(step.text, "result_cache_key"),
        global_cache_keys=(step.texts, "global_cache_key"),
    )
    labels = step.members("labels.")
    if labels:
        options["explicit_labels"] = labels
    return FlowParams(**options) if options else None


async def start(step):
    """Start a flow, with the members of a baggage header as the baggage of OpenTelemetry."""
    current = context.get_current()
    for member in filter(None, (step.text("baggage") or "").split(",")):
        key, _, value = member.partition("=")
        current = baggage.set_baggage(key, unquote(value), current)
    token = context.attach(current)
    try:
        return await settle(step.client.start_flow(step.text("control_point"), params(step)))
    finally:
        context.detach(token)


@operation
async def start_flow(step):
    flow = flows[step.number("flow")] = await start(step)
    return answer_of(flow)


@operation
async def begin_flow(step):
    if ASYNCIO:
        begun[step.number("flow")] = asyncio.ensure_future(start(step))
        return
    future = begun[step.number("flow")] = Future()

    def run():
        try:
            future.set_result(finish(start(step)))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()


@operation
async def join_flow(step):
    waiting = begun.pop(step.number("flow"))
    flow = flows[step.number("flow")] = await waiting if ASYNCIO else waiting.result()
    return answer_of(flow)


@operation
async def cancel_flow(step):
    task = begun[step.number("flow")]
    task.cancel()
    try:
        return await join_flow(step)
    except asyncio.CancelledError:
        return {"cancelled": True}


@operation
async def read(step):
    return answer_of(step.flow)


@operation
async def check_response(step):
    return as_json(step.flow.check_response)


@operation
async def set_status(step):
    step.flow.set_status(FlowStatus.Error if step.text("status") == "ERROR" else FlowStatus.OK)


@operation
async def set_attribute(step):
    for kind, convert in ("text", str), ("integer", int), ("number", float):
        if step.text(kind) is not None:
            step.flow.set_attribute(step.text("key"), convert(step.text(kind)))


@operation
async def end(step):
    response = await settle(step.flow.end())
    raise_error(response)
    return as_json(response.get_flow_end_response())


@operation
async def drop(step):
    del flows[step.number("flow")]
    gc.collect()


class Deliberate(Exception):
    """What a body that fails raises."""


def run_body(step):
    if step.text("body") == "throw":
        raise Deliberate
    return "returned"


@operation
async def guard(step):
    """Decorate a function, or a coroutine function, and call it."""

    async def run_coroutine():
        return run_body(step)

    decorate = step.client.decorate(step.text("control_point"), params(step), on_reject=lambda: "rejected")
    try:
        if ASYNCIO:
            return {"outcome": await decorate(run_coroutine)()}
        return {"outcome": decorate(lambda: run_body(step))()}
    except Deliberate:
        return {"outcome": "thrown"}


@operation
async def block(step):
    """Run the body in a with block, or in an async with block."""
    flow = step.client.start_flow(step.text("control_point"), params(step))
    try:
        if ASYNCIO:
            async with flow:
                return {"outcome": run_body(step)}
        with flow:
            return {"outcome": run_body(step)}
    except Deliberate:
        return {"outcome": "thrown"}


@operation
async def result_cache(step):
    return value_of(step.flow.result_cache())


@operation
async def global_cache(step):
    return value_of(step.flow.global_cache(step.text("key")))


@operation
async def set_result_cache(step):
    raise_error(await settle(step.flow.set_result_cache(step.bytes("value"), step.time("ttl_ns"))))


@operation
async def delete_result_cache(step):
    raise_error(await settle(step.flow.delete_result_cache()))


@operation
async def set_global_cache(step):
    raise_error(await settle(step.flow.set_global_cache(step.text("key"), step.bytes("value"), step.time("ttl_ns"))))


@operation
async def delete_global_cache(step):
    raise_error(await settle(step.flow.delete_global_cache(step.text("key"))))


@operation
async def cache_lookup(step):
    keys = step.texts("global_key")
    found = await settle(
        step.client.cache_lookup(step.text("control_point"), step.text("result_key"), keys, step.time("timeout_ns"))
    )
    raise_error(found)
    answer = value_of(found.result_cache(), "result.")
    for key in keys:
        answer.update(value_of(found.global_cache(key), key + "."))
    return answer


def cache_key(step):
    return {"global_cache_key" if step.text("scope") == "global" else "result_cache_key": step.text("key")}


@operation
async def cache_set(step):
    raise_error(
        await settle(
            step.client.cache_set(
                step.text("control_point"),
                step.bytes("value"),
                step.time("ttl_ns"),
                timeout=step.time("timeout_ns"),
                **cache_key(step),
            )
        )
    )


@operation
async def cache_delete(step):
    raise_error(
        await settle(
            step.client.cache_delete(step.text("control_point"), timeout=step.time("timeout_ns"), **cache_key(step))
        )
    )


@operation
async def reset(_):
    for waiting in begun.values():
        waiting.cancel()
    for client in clients.values():
        await settle(client.close())
    begun.clear()
    flows.clear()
    clients.clear()
    gc.collect()
    return {"handles": live_handles()}


if not ASYNCIO:
    del OPERATIONS["cancel_flow"]


# Answers.


def answer_of(flow):
    answer = {
        "decision": flow.decision.name.lower(),
        "should_run": flow.should_run(),
        "http_status": flow.http_response_code(),
        "reject_reason": flow.reject_reason.name,
        "unreachable_reason": flow.unreachable_reason.name.lower(),
    }
    if flow.retry_after() is not None:
        answer["retry_after_ns"] = flow.retry_after() // timedelta(microseconds=1) * 1000
    if flow.error() is not None:
        answer["failure"] = flow.error()
    return answer


def raise_error(response):
    if response.get_error() is not None:
        raise response.get_error()


def value_of(response, prefix=""):
    answer = {prefix + "status": response.get_lookup_status().name}
    if response.get_lookup_status() is LookupStatus.HIT:
        answer[prefix + "value"] = response.get_value()
    if response.get_error() is not None:
        answer.update((prefix + name, value) for name, value in failure(response.get_error()).items())
    return answer


def as_json(message):
    return None if message is None else {"json": json.dumps(plain(message))}


def plain(value):
    """Return a message as JSON has it."""
    if isinstance(value, check.Message):
        return {name: plain(getattr(value, name)) for name in dir(value) if name[0].islower() and is_set(value, name)}
    if dataclasses.is_dataclass(value):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(element) for element in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def is_set(message, name):
    try:
        return message.HasField(name)
    except ValueError:
        return True


def failure(error):
    is_argument = isinstance(error, (TypeError, ValueError))
    code = getattr(error, "code", None)
    name = code.name.replace("ERROR_", "") if code is not None else "INVALID_ARGUMENT" if is_argument else "INTERNAL"
    return {"error": name, "message": error}


def escape(value):
    if not isinstance(value, bytes):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        value = text.encode("utf-8", "surrogateescape")
    return quote_from_bytes(value, safe="")


live_handles = ctypes.CDLL(os.environ["APERTURE_LIBRARY"]).aperture_live_handles
live_handles.restype = ctypes.c_uint64


async def unsupported(_):
    return {"error": "UNSUPPORTED"}


async def answer(line):
    name, *words = line.split()
    try:
        fields = await OPERATIONS.get(name, unsupported)(Step(words)) or {}
    except Exception as error:
        fields = failure(error)
    sys.stdout.write(" ".join(f"{escape(name)}={escape(value)}" for name, value in fields.items()) + "\n")
    sys.stdout.flush()


def finish(coroutine):
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits in an event loop, where there is none")


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await answer(line)


if ASYNCIO:
    asyncio.run(main())
else:
    for line in sys.stdin:
        finish(answer(line))
