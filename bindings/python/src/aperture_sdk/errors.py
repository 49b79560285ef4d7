"""What this package raises, and what flows and their ends report.

A flow that could not be decided is no exception: see Flow.error(). Every exception has the code of the library and its
message; those about the caller's own arguments are also ValueError.
"""

import enum

from ._abi import Code

__all__ = [
    "AlreadyEndedError",
    "ApertureError",
    "CacheError",
    "CancelledError",
    "ClosedError",
    "Code",
    "ForkedError",
    "InvalidArgumentError",
    "LibraryError",
    "NoAnswerError",
    "NotReadyError",
    "PolicyError",
    "UnreachableError",
    "UnreachableReason",
]


class UnreachableReason(enum.Enum):
    """Why nothing was decided about a flow."""

    NONE = 0  # there is a decision
    TIMEOUT = 1  # no answer came within the check timeout
    UNAVAILABLE = 2  # there is no connection to the agent, or it broke
    AGENT_ERROR = 3  # the agent answered with an error of its own
    MISCONFIGURED = 4  # the agent refuses this client, or its certificate is not trusted
    CANCELLED = 5  # the caller gave up
    CLOSED = 6  # the client was closed
    OVERLOADED = 7  # too many calls of this client were pending already


class ApertureError(Exception):
    """Something went wrong; code says what, and the text says how to repair it."""

    def __init__(self, message: str, code: Code = Code.ERROR_INTERNAL) -> None:
        super().__init__(message)
        self.code = code


class InvalidArgumentError(ApertureError, ValueError):
    """An argument is wrong; the message names it and says what would be right."""


class PolicyError(ApertureError, ValueError):
    """A policy file of a local: address is missing or wrong; the message has file, line and column."""


class ClosedError(ApertureError):
    """The client is closed."""


class AlreadyEndedError(ApertureError):
    """The flow was ended before."""


class ForkedError(ApertureError):
    """The flow or the call was started before a fork, in the parent of this process, and can only be used there.

    A client raises it only where the library cannot be loaded anew in the child; the message says why.
    """


class UnreachableError(ApertureError, ConnectionError):
    """The agent could not be reached or did not answer. This is never a rejection."""

    def __init__(
        self,
        message: str,
        code: Code = Code.ERROR_UNREACHABLE,
        reason: UnreachableReason = UnreachableReason.NONE,
    ) -> None:
        super().__init__(message, code)
        self.reason = reason


class NotReadyError(ApertureError, TimeoutError):
    """The agent could not be asked within the time that wait_ready was given."""


class CancelledError(ApertureError):
    """The call was cancelled by who awaited it: a check has no decision, and a look-up in the cache no answer.

    Whether a set or a delete in the cache took place is not known.
    """


class CacheError(ApertureError):
    """The agent answered, with an error about this one cache entry; the message is the agent's."""


class NoAnswerError(ApertureError):
    """Nothing is known about a cache entry: its key was not given, or a rejected flow was not looked up.

    This is neither a hit nor a miss of the agent's.
    """


class LibraryError(ApertureError, ImportError):
    """The shared library is missing, or is not the one that this package was made for."""


_TYPES: dict[Code, type[ApertureError]] = {
    Code.ERROR_INVALID_ARGUMENT: InvalidArgumentError,
    Code.ERROR_POLICY: PolicyError,
    Code.ERROR_CLOSED: ClosedError,
    Code.ERROR_ALREADY_ENDED: AlreadyEndedError,
    Code.ERROR_UNREACHABLE: UnreachableError,
    Code.ERROR_TIMEOUT: NotReadyError,
    Code.ERROR_CANCELLED: CancelledError,
    Code.ERROR_FORKED: ForkedError,
    Code.ERROR_AGENT: CacheError,
    Code.ERROR_NO_ANSWER: NoAnswerError,
}


def from_code(code: int, message: str) -> ApertureError:
    """Return the exception for a code of the library."""
    try:
        known = Code(code)
    except ValueError:  # a newer library of the same ABI version
        return ApertureError(f"{message} (code {code})")
    return _TYPES.get(known, ApertureError)(message, known)
