"""Flows of ApertureClientAsync, by the names that they have in the upstream package: there is one kind of flow."""

from .flow import (
    EndResponse,
    Flow,
    FlowDecision,
    FlowEndResponse,
    FlowStatus,
    KeyDeleteResponse,
    KeyLookupResponse,
    KeyUpsertResponse,
    LookupStatus,
)

FlowAsync = Flow

__all__ = [
    "EndResponse",
    "FlowAsync",
    "FlowDecision",
    "FlowEndResponse",
    "FlowStatus",
    "KeyDeleteResponse",
    "KeyLookupResponse",
    "KeyUpsertResponse",
    "LookupStatus",
]
