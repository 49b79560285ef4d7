"""Options of clients that the environment of the process names."""

import os
from collections.abc import Mapping
from typing import Any

from . import _arguments

_TEXTS = {"address": "APERTURE_AGENT_ADDRESS", "api_key": "APERTURE_API_KEY"}
_FLAGS = {"insecure": "APERTURE_AGENT_INSECURE", "skip_verify": "APERTURE_AGENT_SKIP_VERIFY"}
_MEANINGS = {"true": True, "1": True, "false": False, "0": False}


def add_options(given: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the options that were given, with those that only the environment has, and what to tell of the latter."""
    options = dict(given)
    told = []
    for name, variable in _TEXTS.items():
        if name not in options and os.environ.get(variable):
            options[name] = os.environ[variable]
            told.append(f"{name} is from {variable}")
    for name, variable in _FLAGS.items():
        value = os.environ.get(variable)
        if name not in options and value:
            if value not in _MEANINGS:
                raise _arguments.wrong(variable, f"is {value!r}; must be true, false, 1 or 0")
            options[name] = _MEANINGS[value]
            told.append(f"{name} is from {variable}")
    if "address" not in options:
        raise _arguments.wrong(_TEXTS["address"], "is not set; it must name the agent, such as host:port")
    return options, f" ({', '.join(told)})" if told else ""
