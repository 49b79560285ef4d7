"""The C memory of one call: its arguments and its results.

Such memory is made once and used again, because making ctypes objects costs more than a call. It is taken from a list
and put back: a signal handler or a finalizer that runs in the middle of a call, and makes one of its own, gets other
memory.
"""

import ctypes
import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from ._arguments import cache_keys

if TYPE_CHECKING:
    from ._calls import Call
    from .client import FlowParams

# What fits into memory that is kept. A call with more gets memory of its own.
_TEXT_BYTES = 4096
_TEXTS = 129  # a control point and 64 labels

# How much memory is kept. More than this is in use only while more threads than this are in a call at once.
_KEPT = 64


def _format(fields: Any) -> str:
    """Return the struct format of fields of a ctypes structure: numbers, pointers, and structures of them."""
    codes = ""
    for _, kind in fields:
        codes += _format(kind._fields_) if issubclass(kind, ctypes.Structure) else kind._type_
    return codes


# Reading and writing a whole structure is faster than one field after the other.
DECISION = struct.Struct("@" + _format(_abi.Decision._fields_))
_FLOW_PARAMS_SIZE = ctypes.sizeof(_abi.FlowParams)
_TEXT = _format(_abi.Text._fields_)
_TEXT_SIZE = ctypes.sizeof(_abi.Text)

# The last fields of flow parameters are zero in most flows. As bytes between the others that takes no time to write.
_FIELDS = list(_abi.FlowParams._fields_)
_FIRST_FIELDS = _FIELDS[: [field[0] for field in _FIELDS].index("baggage")]
_LAST_SIZE = _FLOW_PARAMS_SIZE - _abi.FlowParams.baggage.offset
_FLOW_PARAMS = f"@{_format(_FIRST_FIELDS)}{_LAST_SIZE}x"
_CACHE_KEYS = struct.Struct("@" + _format(_FIELDS[len(_FIRST_FIELDS) + 1 :]))
_CACHE_KEYS_AT = _abi.FlowParams.result_cache_key.offset

# Writers of flow parameters that are followed by so many texts, made when they are needed.
_writers: dict[int, struct.Struct] = {}


class Memory:
    """The arguments and results of one call. The attributes that end in _at are what a function takes for them."""

    __slots__ = (
        "_labels_address",
        "_params",
        "_text",
        "_text_address",
        "_text_buffer",
        "answer",
        "answer_at",
        "call",
        "call_at",
        "decision",
        "decision_at",
        "end_result",
        "end_result_at",
        "error",
        "error_at",
        "flow",
        "flow_at",
        "params_at",
        "spare",
        "text_count",
        "text_size",
    )

    def __init__(self, spare: "Call", text_size: int = _TEXT_BYTES, text_count: int = _TEXTS) -> None:
        self.spare = spare  # the asynchronous call that this memory would begin
        self.text_size = text_size
        self._text_buffer = ctypes.create_string_buffer(text_size)
        self._text = memoryview(self._text_buffer).cast("B")
        self._text_address = ctypes.addressof(self._text_buffer)
        self.text_count = text_count
        self._params = ctypes.create_string_buffer(_FLOW_PARAMS_SIZE + text_count * _TEXT_SIZE)
        self._labels_address = ctypes.addressof(self._params) + _FLOW_PARAMS_SIZE + _TEXT_SIZE
        self.decision = _abi.Decision(struct_size=ctypes.sizeof(_abi.Decision))
        self.end_result = _abi.EndResult(struct_size=ctypes.sizeof(_abi.EndResult))
        self.error = _abi.Error(struct_size=ctypes.sizeof(_abi.Error))
        self.flow = ctypes.c_uint64()
        self.answer = ctypes.c_uint64()
        self.call = ctypes.c_uint64()
        self.params_at = ctypes.byref(self._params)
        self.decision_at = ctypes.byref(self.decision)
        self.end_result_at = ctypes.byref(self.end_result)
        self.error_at = ctypes.byref(self.error)
        self.flow_at = ctypes.byref(self.flow)
        self.answer_at = ctypes.byref(self.answer)
        self.call_at = ctypes.byref(self.call)

    def set_flow_params(
        self, text: bytes, lengths: list[int], key_count: int, check_timeout_ns: int, ramp_mode: bool
    ) -> None:
        """Describe a flow to start. Text is what encode_flow returns; so many of its parts are keys of caches."""
        self._text[: len(text)] = text
        texts: list[int] = []
        position = self._text_address
        for length in lengths:
            texts += (position, length)
            position += length
        writer = _writers.get(len(lengths)) or _make_writer(len(lengths))
        writer.pack_into(
            self._params,
            0,
            _FLOW_PARAMS_SIZE,
            self._text_address,
            lengths[0],
            self._labels_address,
            (len(lengths) - key_count) // 2,
            check_timeout_ns,
            1 if ramp_mode else 0,
            0,
            *texts,
        )
        if key_count:
            before = len(lengths) - key_count  # the control point and the labels
            result_key = texts[2 * before : 2 * before + 2]
            global_keys = self._labels_address + before * _TEXT_SIZE if key_count > 1 else 0
            _CACHE_KEYS.pack_into(self._params, _CACHE_KEYS_AT, *result_key, global_keys, key_count - 1)


def _make_writer(text_count: int) -> struct.Struct:
    writer = struct.Struct(_FLOW_PARAMS + _TEXT * text_count)
    if text_count <= _TEXTS:
        _writers[text_count] = writer
    return writer


class Memories:
    """Memory that is not in use."""

    __slots__ = ("_make_call", "_unused")

    def __init__(self, make_call: "Callable[[], Call]") -> None:
        self._make_call = make_call
        self._unused: list[Memory] = []

    def take(self) -> Memory:
        """Return memory that nobody else uses."""
        try:
            return self._unused.pop()
        except IndexError:
            return Memory(self._make_call())

    def take_for(self, text: bytes, lengths: list[int]) -> Memory:
        """Return memory with room for the description of a flow."""
        if len(text) <= _TEXT_BYTES and len(lengths) <= _TEXTS:
            return self.take()
        return Memory(self._make_call(), max(len(text), _TEXT_BYTES), max(len(lengths), _TEXTS))

    def put(self, memory: Memory) -> None:
        """Take memory back."""
        if memory.text_size + memory.text_count == _TEXT_BYTES + _TEXTS and len(self._unused) < _KEPT:
            self._unused.append(memory)


def encode_flow(control_point: str, params: "FlowParams", baggage: Sequence[str]) -> tuple[bytes, list[int], int]:
    """Return the texts that describe a flow as UTF-8, one after the other, and the length of each in bytes.

    They are the control point, keys and values of labels, and keys of caches. Last is how many the latter are. Baggage
    comes before the explicit labels: the library takes the later one of two labels with the same key.
    """
    parts = [control_point]
    if baggage:
        parts += baggage
    labels = params.explicit_labels
    key_count = 0
    try:
        if labels is not None:
            for label in labels.items():
                parts += label
        if params.result_cache_key is not None or params.global_cache_keys is not None:
            keys = cache_keys(params.result_cache_key, params.global_cache_keys)
            key_count = len(keys)
            parts += keys
        text = "".join(parts)
    except (AttributeError, TypeError, ValueError):
        _check_texts(control_point, labels)
        raise
    if text.isascii():
        return text.encode("ascii"), list(map(len, parts)), key_count
    # Lone surrogates, which are no UTF-8, are passed on: the library refuses or repairs them, and counts that.
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    return b"".join(encoded), list(map(len, encoded)), key_count


def _check_texts(control_point: object, labels: object) -> None:
    """Raise the TypeError that names what is not text. Values of labels are not shown: they may be secret."""
    if not isinstance(control_point, str):
        raise TypeError(f"control_point: must be str, not {type(control_point).__name__}")
    if labels is None:
        return
    if not isinstance(labels, Mapping):
        raise TypeError(f"explicit_labels: must be a mapping of str to str, not {type(labels).__name__}")
    for key, value in labels.items():
        if not isinstance(key, str):
            raise TypeError(f"explicit_labels: the key {key!r} must be str, not {type(key).__name__}")
        if not isinstance(value, str):
            raise TypeError(f"explicit_labels: the value of {key!r} must be str, not {type(value).__name__}")
