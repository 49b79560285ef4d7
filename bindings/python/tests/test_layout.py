"""The ctypes table says what the C header says; tests/layout/layout.json is that in numbers."""

import ctypes
import json
import struct
from typing import Any

import pytest
from processes import ROOT

from aperture_sdk import _abi, _library
from aperture_sdk._memory import _CACHE_KEYS, _CACHE_KEYS_AT, _FLOW_PARAMS, _FLOW_PARAMS_SIZE, DECISION
from aperture_sdk.cache import LookupStatus
from aperture_sdk.client import ConnectionState, Stats
from aperture_sdk.flow import FlowDecision, FlowStatus, RejectReason, UnreachableReason
from aperture_sdk.process import LogLevel

LAYOUT: dict[str, Any] = json.loads((ROOT / "tests" / "layout" / "layout.json").read_text())


def test_the_version_and_the_constants_are_those_of_the_header() -> None:
    assert LAYOUT["abi_version"] == _abi.ABI_VERSION
    assert LAYOUT["constants"] == {name: getattr(_abi, name) for name in LAYOUT["constants"]}


def test_there_are_the_same_structs_enumerations_and_functions() -> None:
    assert set(LAYOUT["structs"]) == set(_abi.STRUCTS)
    assert set(LAYOUT["enums"]) == set(_abi.ENUMS)
    assert set(LAYOUT["functions"]) == set(_abi.FUNCTIONS)


@pytest.mark.parametrize("name", LAYOUT["structs"])
def test_a_struct_has_the_size_and_the_offsets_of_the_header(name: str) -> None:
    kind = _abi.STRUCTS[name]
    fields = {
        field: {"offset": getattr(kind, field).offset, "size": getattr(kind, field).size} for field, _ in kind._fields_
    }
    assert {"size": ctypes.sizeof(kind), "fields": fields} == LAYOUT["structs"][name]


@pytest.mark.parametrize("name", LAYOUT["enums"])
def test_an_enumeration_has_the_values_of_the_header(name: str) -> None:
    assert {value.name: value.value for value in _abi.ENUMS[name]} == LAYOUT["enums"][name]


def test_the_library_has_every_function() -> None:
    library = ctypes.CDLL(_library.load().path)
    for name in LAYOUT["functions"]:
        assert hasattr(library, name), name


def test_every_function_is_used_by_the_package() -> None:
    bound = vars(_library.load()).values()
    names = {getattr(function, "__name__", "") for function in bound}
    # Everything else can be had from what the package reads anyway.
    unused = {"aperture_error_name", "aperture_flow_should_run"}
    # Python installs its handlers with the flag, and a C program that embeds it can call the library itself.
    unused.add("aperture_protect_signal_handlers")
    # Python reads the environment itself.
    unused.add("aperture_client_options_from_environment")
    # Nothing ends a thread of Python from outside.
    unused.add("aperture_close_clients_with_thread")
    assert set(LAYOUT["functions"]) - names == unused


def test_structs_that_are_read_and_written_whole_have_the_size_of_their_format() -> None:
    assert DECISION.size == ctypes.sizeof(_abi.Decision)
    assert struct.calcsize(_FLOW_PARAMS) == _FLOW_PARAMS_SIZE == ctypes.sizeof(_abi.FlowParams)
    assert _CACHE_KEYS_AT + _CACHE_KEYS.size == _FLOW_PARAMS_SIZE


def test_the_types_of_the_package_have_the_values_of_the_abi() -> None:
    assert Stats._fields == tuple(name for name, *_ in _abi.Stats._fields_ if name != "struct_size")
    for mine, prefix, name in (
        (FlowDecision, "", "decision_type"),
        (FlowStatus, "FLOW_STATUS_", "flow_status"),
        (RejectReason, "REJECT_REASON_", "reject_reason"),
        (UnreachableReason, "UNREACHABLE_REASON_", "unreachable_reason"),
        (LogLevel, "LOG_LEVEL_", "log_level"),
        (ConnectionState, "CONNECTION_", "connection_state"),
        (LookupStatus, "LOOKUP_", "lookup_status"),
    ):
        assert {prefix + value.name.upper(): value.value for value in mine} == LAYOUT["enums"][name]
