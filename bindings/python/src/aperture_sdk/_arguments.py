"""Checks what callers give, and turns it into what the library takes.

A message names the argument and its type. It shows no text that may be secret: labels, keys and values are not in it.
"""

import ctypes
import math
import os
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from typing import Optional, Union

from . import errors
from ._abi import Attribute, AttributeKind, Code, Compression, Text

# A time to wait: a timedelta, or a number of seconds.
Timeout = Union[timedelta, float]

# What a cache stores: text, which becomes UTF-8, or bytes.
Value = Union[str, bytes, bytearray, memoryview]

Path = Union[str, "os.PathLike[str]"]

# What is sent with every call: a mapping, or pairs of keys and values.
Metadata = Union[Mapping[str, str], Iterable[tuple[str, str]]]
_PAIR = 2

# Members of grpc.Compression, which is an enumeration of numbers in a package that nobody needs for this one.
_GRPC_NO_COMPRESSION = 0
_GRPC_GZIP = 2

MAX_NS = 2**63 - 1


def wrong(name: str, what: str) -> errors.InvalidArgumentError:
    """Return the exception for an argument of the right type that is wrong all the same."""
    return errors.InvalidArgumentError(f"{name}: {what}", Code.ERROR_INVALID_ARGUMENT)


def text(name: str, value: str) -> bytes:
    """Return text in UTF-8. Lone surrogates, which are none, are passed on for the library to refuse or repair."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be str, not {type(value).__name__}")
    return value.encode("utf-8", "surrogatepass")


def path(name: str, value: Optional[Path]) -> bytes:
    """Return a path as the system takes it."""
    if value is None:
        return b""
    try:
        return os.fsencode(value)
    except TypeError:
        raise TypeError(f"{name}: must be str or os.PathLike, not {type(value).__name__}") from None


def pem(name: str, value: Union[str, bytes, None]) -> bytes:
    """Return certificates or a key in PEM."""
    if value is None or isinstance(value, bytes):
        return value or b""
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be str or bytes, not {type(value).__name__}")
    return text(name, value)


def flag(name: str, value: bool) -> int:
    """Return a bool as the library takes it."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: must be bool, not {type(value).__name__}")
    return int(value)


def count(name: str, value: Optional[int], limit: int = 2**63) -> int:
    """Return a number of things, at least 1 and below the limit; 0 for None, the library's word for its default."""
    if value is None:
        return 0
    if type(value) is not int:
        raise TypeError(f"{name}: must be int, not {type(value).__name__}")
    if not 0 < value < limit:
        raise wrong(name, f"is {value}; must be at least 1")
    return value


def nanoseconds(name: str, value: timedelta) -> int:
    """Return a duration in nanoseconds, cut to what fits into 64 bits."""
    if not isinstance(value, timedelta):
        raise TypeError(f"{name}: must be datetime.timedelta, not {type(value).__name__}")
    total = ((value.days * 86400 + value.seconds) * 1_000_000 + value.microseconds) * 1000
    if -MAX_NS <= total <= MAX_NS:
        return total
    return MAX_NS if total > 0 else -MAX_NS


def timeout(name: str, value: Timeout) -> int:
    """Return a timedelta or a number of seconds in nanoseconds, cut to what fits into 64 bits."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isnan(value):
            raise wrong(name, "is not a number")
        limit = MAX_NS // 1_000_000_000
        return int(max(-limit, min(value, limit)) * 1_000_000_000)
    if not isinstance(value, timedelta):
        raise TypeError(f"{name}: must be datetime.timedelta or a number of seconds, not {type(value).__name__}")
    return nanoseconds(name, value)


def positive_timeout(name: str, value: Optional[Timeout]) -> int:
    """Return a timeout in nanoseconds, 0 for None: the library's word for its default, and so refused as a number."""
    if value is None:
        return 0
    total = timeout(name, value)
    if total <= 0:
        raise wrong(name, f"is {value}; must be more than 0, at least a nanosecond")
    return total


def attribute(key: str, value: Union[str, int, float]) -> tuple[Attribute, tuple[object, ...]]:
    """Return an attribute of a span, and what must be kept as long as it is used."""
    encoded = text("key", key)
    given = Attribute(struct_size=ctypes.sizeof(Attribute), key=text_at(encoded))
    kept = encoded
    if isinstance(value, str):
        kept = text("value", value)
        given.kind = AttributeKind.ATTRIBUTE_TEXT
        given.text = text_at(kept)
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"value: must be str, int or float, not {type(value).__name__}")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise wrong("value", "does not fit into 64 bits; give a float")
        given.kind = AttributeKind.ATTRIBUTE_INTEGER
        given.integer = value
    else:
        given.kind = AttributeKind.ATTRIBUTE_NUMBER
        given.number = value
    return given, (encoded, kept)


def text_at(encoded: bytes) -> Text:
    """Return a text that points at bytes, which the caller keeps."""
    return Text(address(encoded), len(encoded))


def address(data: bytes) -> Optional[int]:
    """Return where bytes are, which the caller keeps."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value


def compression(name: str, value: Union[str, int, None]) -> Compression:
    """Return how messages are compressed. The numbers are those of grpc.Compression."""
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise TypeError(f'{name}: must be "gzip", "none", None or grpc.Compression, not {type(value).__name__}')
    if value in (None, "none", _GRPC_NO_COMPRESSION):
        return Compression.COMPRESSION_NONE
    if value in ("gzip", _GRPC_GZIP):
        return Compression.COMPRESSION_GZIP
    raise wrong(name, f'is {value!r}; must be "gzip" or "none", or Gzip or NoCompression of grpc.Compression')


def metadata(name: str, value: Optional[Metadata]) -> list[tuple[bytes, bytes]]:
    """Return entries of gRPC metadata. Their values may be secret, and are shown in no message."""
    if value is None:
        return []
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise TypeError(f"{name}: must be a mapping of str to str, or pairs of them, not {type(value).__name__}")
    entries = []
    for number, pair in enumerate(pairs, 1):
        if not isinstance(pair, (tuple, list)) or len(pair) != _PAIR:
            raise TypeError(f"{name}: entry {number} must be a pair of a key and a value")
        entries.append(
            (text(f"{name}: the key of entry {number}", pair[0]), text(f"{name}: the value of entry {number}", pair[1]))
        )
    return entries


def stored(name: str, value: Value) -> bytes:
    """Return what a cache is to store."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:  # it would show the value
            raise wrong(name, "is text with lone surrogates, which have no UTF-8; give bytes instead") from None
    try:
        return memoryview(value).tobytes()
    except TypeError:
        raise TypeError(f"{name}: must be str or bytes-like, not {type(value).__name__}") from None


def cache_keys(result_key: Optional[str], global_keys: Optional[Collection[str]]) -> list[str]:
    """Return the key in the result cache, empty for none, and then those in the global cache."""
    if result_key is None:
        keys = [""]
    elif isinstance(result_key, str):
        keys = [result_key]
    else:
        raise TypeError(f"result_cache_key: must be str, not {type(result_key).__name__}")
    if global_keys is None:
        return keys
    if isinstance(global_keys, (str, bytes)) or not isinstance(global_keys, Collection):
        raise TypeError(f"global_cache_keys: must be a sequence of str, not {type(global_keys).__name__}")
    for key in global_keys:
        if not isinstance(key, str):
            raise TypeError(f"global_cache_keys: every key must be str, not {type(key).__name__}")
        keys.append(key)
    return keys
