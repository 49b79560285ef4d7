"""Baggage of OpenTelemetry, which describes flows as labels do."""

import logging
import sys
from collections.abc import Sequence
from typing import Any

# The module that has it. Who has set baggage has imported it, so that this package never does.
MODULE = "opentelemetry.baggage"

_logger = logging.getLogger("aperture-py")


def current() -> Sequence[str]:
    """Return keys and values of the current baggage, one after the other. It never raises.

    Much of baggage comes from somebody else: from who sent a request. What cannot be used of it is left out.
    """
    module: Any = sys.modules.get(MODULE)
    texts: list[str] = []
    try:
        members = list(module.get_all().items())
    except Exception as error:
        _logger.debug("baggage cannot be read: %s", type(error).__name__)
        return texts
    for key, value in members:
        try:
            texts += (str(key), str(value))
        except Exception as error:
            _logger.debug("a member of baggage has no text: %s", type(error).__name__)
    return texts
