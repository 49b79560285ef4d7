"""What the clients have in common, by the module's name in the upstream package. See aperture_sdk.client."""

from .client import FlowParams, Labels

__all__ = ["FlowParams", "Labels"]
