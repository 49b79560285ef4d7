"""What a step can ask for: functions that take its arguments, and return the answer or raise."""

import asyncio
import base64
import ctypes
import dataclasses
import gc
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest.mock import patch
from urllib.parse import unquote

from aperture_sdk.check import Message
from aperture_sdk.client import ApertureClient, FlowParams
from aperture_sdk.flow import FlowStatus
from opentelemetry import context
from opentelemetry.baggage import set_baggage

ASYNCIO = "--asyncio" in sys.argv

clients, flows, begun = {}, {}, {}
threads = ThreadPoolExecutor(max_workers=32)
live_handles = ctypes.CDLL(os.environ["APERTURE_LIBRARY"]).aperture_live_handles
live_handles.restype = ctypes.c_uint64


def finish(coroutine):
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits in an event loop, where there is none")


async def settle(outcome):
    """Wait for what the package returns, as a program of this kind does, and raise the error that a response has."""
    result = await outcome if ASYNCIO else outcome
    if hasattr(result, "get_error") and result.get_error() is not None:
        raise result.get_error()
    return result


def from_environment(client, env):
    with patch.dict(os.environ, env):
        clients[client] = ApertureClient.from_environment()


async def start(client, control_point, baggage="", **params):
    """Start a flow, with the members of a baggage header as the baggage of OpenTelemetry."""
    current = context.get_current()
    for key, _, value in (member.partition("=") for member in baggage.split(",") if member):
        current = set_baggage(key, unquote(value), current)
    token = context.attach(current)
    try:
        return await settle(clients[client].start_flow(control_point, FlowParams(**params) if params else None))
    finally:
        context.detach(token)


async def start_flow(flow, **arguments):
    flows[flow] = await start(**arguments)
    return decision_of(flows[flow])


def begin_flow(flow, **arguments):
    begun[flow] = asyncio.ensure_future(start(**arguments)) if ASYNCIO else threads.submit(finish, start(**arguments))


async def join_flow(flow):
    starting = begun.pop(flow)
    flows[flow] = await starting if ASYNCIO else starting.result()
    return decision_of(flows[flow])


async def cancel_flow(flow):
    begun[flow].cancel()
    try:
        return await join_flow(flow)
    except asyncio.CancelledError:
        return {"cancelled": True}


async def end(flow):
    response = await settle(flows[flow].end())
    return json_of(response.get_flow_end_response())


def drop(flow):
    del flows[flow]
    gc.collect()


class Deliberate(Exception):
    """What a body that fails raises."""


def run(body):
    if body == "throw":
        raise Deliberate
    return {"outcome": "returned"}


async def guard(client, control_point, body, **params):
    """Decorate a function, or a coroutine function, and call it."""

    async def coroutine():
        return run(body)

    decorate = clients[client].decorate(control_point, FlowParams(**params), on_reject=lambda: {"outcome": "rejected"})
    return await decorate(coroutine)() if ASYNCIO else decorate(lambda: run(body))()


async def block(client, control_point, body, **params):
    """Run the body in a with block, or in an async with block."""
    flow = clients[client].start_flow(control_point, FlowParams(**params))
    if ASYNCIO:
        async with flow:
            return run(body)
    with flow:
        return run(body)


async def cache_lookup(client, **keys):
    found = await settle(clients[client].cache_lookup(**keys))
    values = {key: value_of(found.global_cache(key)) for key in keys.get("global_cache_keys", [])}
    return {"result": value_of(found.result_cache()), **values}


async def reset():
    for starting in begun.values():
        starting.cancel()
    for client in clients.values():
        await settle(client.close())
    for made in begun, flows, clients:
        made.clear()
    gc.collect()
    return {"handles": live_handles()}


def decision_of(flow):
    wait = flow.retry_after()
    return {
        "decision": flow.decision.name.lower(),
        "should_run": flow.should_run(),
        "http_status": flow.http_response_code(),
        "reject_reason": flow.reject_reason.name,
        "unreachable_reason": flow.unreachable_reason.name.lower(),
        "retry_after_ns": None if wait is None else round(wait.total_seconds() * 1e6) * 1000,
        "failure": flow.error(),
    }


def value_of(found):
    answer = {"status": found.get_lookup_status().name, "value": found.get_value()}
    return answer if found.get_error() is None else {**answer, **failure(found.get_error())}


def json_of(message):
    return None if message is None else {"json": json.dumps(message, default=plain)}


def plain(value):
    """Return a part of a message in a form that JSON has."""
    if isinstance(value, Message):
        return {name: getattr(value, name) for name in dir(value) if name[0].islower() and is_set(value, name)}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else dict(value)


def is_set(message, name):
    with suppress(ValueError):
        return message.HasField(name)
    return True


def failure(error):
    if isinstance(error, Deliberate):
        return {"outcome": "thrown"}
    by_type = "INVALID_ARGUMENT" if isinstance(error, (TypeError, ValueError)) else "INTERNAL"
    return {"error": error.code.name.replace("ERROR_", "") if hasattr(error, "code") else by_type, "message": error}


FUNCTIONS = [from_environment, start_flow, begin_flow, join_flow, end, drop, guard, block, cache_lookup, reset]
OPERATIONS = {
    **{function.__name__: function for function in [*FUNCTIONS, *([cancel_flow] if ASYNCIO else [])]},
    "open": lambda client, **options: clients.update({client: ApertureClient.new_client(**options)}),
    "wait_ready": lambda client, timeout: settle(clients[client].wait_ready(timeout)),
    "state": lambda client: {"state": clients[client].state().name.lower()},
    "stats": lambda client: clients[client].stats()._asdict(),
    "close": lambda client, **timeout: settle(clients[client].close(**timeout)),
    "read": lambda flow: decision_of(flows[flow]),
    "check_response": lambda flow: json_of(flows[flow].check_response),
    "set_status": lambda flow, status: flows[flow].set_status(FlowStatus[status]),
    "set_attribute": lambda flow, key, attribute: flows[flow].set_attribute(key, attribute),
    "result_cache": lambda flow: value_of(flows[flow].result_cache()),
    "global_cache": lambda flow, key: value_of(flows[flow].global_cache(key)),
    "set_result_cache": lambda flow, **entry: settle(flows[flow].set_result_cache(**entry)),
    "delete_result_cache": lambda flow: settle(flows[flow].delete_result_cache()),
    "set_global_cache": lambda flow, **entry: settle(flows[flow].set_global_cache(**entry)),
    "delete_global_cache": lambda flow, key: settle(flows[flow].delete_global_cache(key)),
    "cache_set": lambda client, **entry: settle(clients[client].cache_set(**entry)),
    "cache_delete": lambda client, **entry: settle(clients[client].cache_delete(**entry)),
}
