"""Runs the conformance cases with the Python package: blocking, or with --asyncio in an event loop.

This is the protocol; operations.py has what a step can ask for. See tests/conformance/README.md.
"""

import asyncio
import inspect
import json
import re
import sys
from datetime import timedelta
from urllib.parse import quote_from_bytes, unquote

from operations import ASYNCIO, OPERATIONS, failure, finish

RENAMED = {"labels": "explicit_labels", "flow_end_timeout": "grpc_timeout"}


def arguments_of(words):
    """Return what the words of a step mean, as the keyword arguments of a function."""
    arguments = {}
    for word in words:
        name, literal, text = re.fullmatch("([^:=]+)(:?)=(.*)", word).groups()
        name, is_member, member = name.partition(".")
        value = json.loads(text) if literal else unquote(text, errors="surrogateescape")
        if name.endswith("_ns"):
            name, value = name.removesuffix("_ns"), timedelta(microseconds=value / 1000)
        if name == "value":
            value = value.encode("utf-8", "surrogateescape")
        name = RENAMED.get(name, name)
        if is_member:
            arguments.setdefault(name, {})[unquote(member)] = value
        elif name.endswith("[]"):
            arguments.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            arguments[name] = value
    return arguments


def words_of(answer, prefix=""):
    """Return the words of an answer; members that are objects have their names before those of their members."""
    for name, value in answer.items():
        if isinstance(value, dict):
            yield from words_of(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{escape(prefix + name)}={escape(value)}"


def escape(value):
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return quote_from_bytes(value if isinstance(value, bytes) else text.encode("utf-8", "surrogateescape"), safe="")


async def do(line):
    """Do a step and write the answer."""
    operation, *words = line.split()
    try:
        answer = OPERATIONS[operation](**arguments_of(words)) if operation in OPERATIONS else {"error": "UNSUPPORTED"}
        answer = await answer if inspect.iscoroutine(answer) else answer
    except Exception as error:
        answer = failure(error)
    print(*words_of(answer if isinstance(answer, dict) else {}), flush=True)  # noqa: T201  # this is what it is for


async def main():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await do(line)


if ASYNCIO:
    asyncio.run(main())
else:
    for line in sys.stdin:
        finish(do(line))
