"""Flow control with FluxNinja Aperture. See aperture_sdk.client, aperture_sdk.flow and aperture_sdk.process."""

from ._abi import VERSION as __version__
from .client import ApertureClient, FlowParams, Labels
from .flow import EndResponse, Flow, FlowDecision, FlowStatus
from .process import LogLevel, configure

__all__ = [
    "ApertureClient",
    "EndResponse",
    "Flow",
    "FlowDecision",
    "FlowParams",
    "FlowStatus",
    "Labels",
    "LogLevel",
    "__version__",
    "configure",
]
