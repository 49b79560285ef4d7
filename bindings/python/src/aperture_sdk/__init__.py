"""Flow control with FluxNinja Aperture. See aperture_sdk.client and aperture_sdk.flow."""

from ._abi import VERSION as __version__
from .client import ApertureClient, FlowParams, Labels
from .flow import EndResponse, Flow, FlowDecision, FlowStatus

__all__ = [
    "ApertureClient",
    "EndResponse",
    "Flow",
    "FlowDecision",
    "FlowParams",
    "FlowStatus",
    "Labels",
    "__version__",
]
