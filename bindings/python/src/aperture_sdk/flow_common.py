"""What flows have in common, by the module's name in the upstream package. See aperture_sdk.flow."""

from .flow import EndResponse, FlowDecision, FlowStatus

__all__ = ["EndResponse", "FlowDecision", "FlowStatus"]
