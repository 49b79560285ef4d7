"""Flow control with FluxNinja Aperture.

See aperture_sdk.client and aperture_sdk.flow, aperture_sdk.cache and aperture_sdk.check for what they return, and
aperture_sdk.process for what holds for the whole process.
"""

from ._abi import VERSION as __version__
from .cache import KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, LookupStatus
from .client import ApertureClient, ConnectionState, FlowParams, Labels
from .client_async import ApertureClientAsync
from .flow import EndResponse, Flow, FlowDecision, FlowStatus
from .process import LogLevel, configure

__all__ = [
    "ApertureClient",
    "ApertureClientAsync",
    "ConnectionState",
    "EndResponse",
    "Flow",
    "FlowDecision",
    "FlowParams",
    "FlowStatus",
    "KeyDeleteResponse",
    "KeyLookupResponse",
    "KeyUpsertResponse",
    "Labels",
    "LogLevel",
    "LookupStatus",
    "__version__",
    "configure",
]
