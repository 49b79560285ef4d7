"""The C ABI of libaperture for ctypes: enumerations, structs and prototypes.

Generated from abi/aperture.yaml; do not edit.
"""

import ctypes
import enum
from typing import Any, Dict, List, Optional, Tuple

VERSION = "0.5.0"
ABI_VERSION = 5
SONAME = "libaperture.so.0"

DEFAULT_CHECK_TIMEOUT_NS = 200000000
MAX_CHECK_TIMEOUT_NS = 86400000000000
DEFAULT_FLOW_END_TIMEOUT_NS = 1000000000
DEFAULT_CACHE_TIMEOUT_NS = 1000000000
MAX_CACHE_VALUE_BYTES = 4000000
MAX_CACHE_TTL_NS = 604800000000000
MIN_KEEPALIVE_TIME_NS = 300000000000
DEFAULT_CLOSE_TIMEOUT_NS = 5000000000
DEFAULT_MAX_PENDING_CALLS = 65536
NO_RETRY_AFTER = -1


class Code(enum.IntEnum):
    """What a function returns. Errors are negative."""

    OK = 0
    PENDING = 1
    ERROR_INVALID_ARGUMENT = -1
    ERROR_INVALID_HANDLE = -2
    ERROR_CLOSED = -3
    ERROR_ALREADY_ENDED = -4
    ERROR_UNREACHABLE = -5
    ERROR_TIMEOUT = -6
    ERROR_CANCELLED = -7
    ERROR_POLICY = -8
    ERROR_BUFFER_TOO_SMALL = -9
    ERROR_RESOURCE_EXHAUSTED = -10
    ERROR_INTERNAL = -11
    ERROR_FORKED = -12
    ERROR_AGENT = -13
    ERROR_NO_ANSWER = -14


class DecisionType(enum.IntEnum):
    """What was decided about a flow."""

    ACCEPTED = 0
    REJECTED = 1
    UNREACHABLE = 2


class RejectReason(enum.IntEnum):
    """Which kind of component rejected a flow."""

    REJECT_REASON_NONE = 0
    REJECT_REASON_RATE_LIMITED = 1
    REJECT_REASON_NO_TOKENS = 2
    REJECT_REASON_NOT_SAMPLED = 3
    REJECT_REASON_NO_MATCHING_RAMP = 4


class UnreachableReason(enum.IntEnum):
    """Why nothing was decided."""

    UNREACHABLE_REASON_NONE = 0
    UNREACHABLE_REASON_TIMEOUT = 1
    UNREACHABLE_REASON_UNAVAILABLE = 2
    UNREACHABLE_REASON_AGENT_ERROR = 3
    UNREACHABLE_REASON_MISCONFIGURED = 4
    UNREACHABLE_REASON_CANCELLED = 5
    UNREACHABLE_REASON_CLOSED = 6
    UNREACHABLE_REASON_OVERLOADED = 7


class FlowStatus(enum.IntEnum):
    """How the work of a flow went."""

    FLOW_STATUS_OK = 0
    FLOW_STATUS_ERROR = 1


class LogLevel(enum.IntEnum):
    """How serious a line of the log is. A level includes all that is more serious."""

    LOG_LEVEL_DEBUG = -2
    LOG_LEVEL_INFO = -1
    LOG_LEVEL_WARNING = 0
    LOG_LEVEL_ERROR = 1


class CompletionKind(enum.IntEnum):
    """Which asynchronous call a completion belongs to."""

    COMPLETION_START_FLOW = 1
    COMPLETION_FLOW_END = 2
    COMPLETION_WAIT_READY = 3
    COMPLETION_CLOSE = 4
    COMPLETION_CACHE_LOOKUP = 5
    COMPLETION_CACHE_SET = 6
    COMPLETION_CACHE_DELETE = 7


class ConnectionState(enum.IntEnum):
    """How a client's connection to its agent is. An engine in this process is always ready."""

    CONNECTION_IDLE = 0
    CONNECTION_CONNECTING = 1
    CONNECTION_READY = 2
    CONNECTION_FAILING = 3
    CONNECTION_CLOSED = 4


class Compression(enum.IntEnum):
    """How the messages to an agent are compressed."""

    COMPRESSION_NONE = 0
    COMPRESSION_GZIP = 1


class CacheScope(enum.IntEnum):
    """Which of an agent's caches an entry is in."""

    CACHE_RESULT = 0
    CACHE_GLOBAL = 1


class LookupStatus(enum.IntEnum):
    """Whether the cache had an entry."""

    LOOKUP_MISS = 0
    LOOKUP_HIT = 1


class AttributeKind(enum.IntEnum):
    """Which field of an aperture_attribute has its value."""

    ATTRIBUTE_TEXT = 0
    ATTRIBUTE_INTEGER = 1
    ATTRIBUTE_NUMBER = 2


class Text(ctypes.Structure):
    """aperture_text; include/aperture.h says what its fields mean."""

    data: Optional[int]
    length: int

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
    ]



class Label(ctypes.Structure):
    """aperture_label; include/aperture.h says what its fields mean."""

    key: Text
    value: Text

    _fields_ = [
        ("key", Text),
        ("value", Text),
    ]



class Bytes(ctypes.Structure):
    """aperture_bytes; include/aperture.h says what its fields mean."""

    data: Optional[int]
    length: int

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
    ]



class Error(ctypes.Structure):
    """aperture_error; include/aperture.h says what its fields mean."""

    struct_size: int
    code: int
    message_length: int
    message: bytes

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("code", ctypes.c_int32),
        ("message_length", ctypes.c_uint32),
        ("message", ctypes.c_char * 1008),
    ]



class ProcessOptions(ctypes.Structure):
    """aperture_process_options; include/aperture.h says what its fields mean."""

    struct_size: int
    log_fd: int
    log_level: int
    max_procs: int
    leave_signal_handlers: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("log_fd", ctypes.c_int32),
        ("log_level", ctypes.c_int32),
        ("max_procs", ctypes.c_int32),
        ("leave_signal_handlers", ctypes.c_int32),
    ]



class ClientOptions(ctypes.Structure):
    """aperture_client_options; include/aperture.h says what its fields mean."""

    struct_size: int
    address: Text
    api_key: Text
    ca_file: Text
    server_name: Text
    user_agent: Text
    flow_end_timeout_ns: int
    max_pending_calls: int
    insecure: int
    telemetry_off: int
    ca_pem: Text
    client_certificate_file: Text
    client_key_file: Text
    client_certificate_pem: Text
    client_key_pem: Text
    metadata: Optional[int]
    metadata_count: int
    keepalive_time_ns: int
    keepalive_timeout_ns: int
    telemetry_queue: int
    telemetry_batch: int
    telemetry_interval_ns: int
    compression: int
    skip_verify: int
    max_labels: int
    max_waiting: int
    cache_bytes: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("address", Text),
        ("api_key", Text),
        ("ca_file", Text),
        ("server_name", Text),
        ("user_agent", Text),
        ("flow_end_timeout_ns", ctypes.c_int64),
        ("max_pending_calls", ctypes.c_uint64),
        ("insecure", ctypes.c_int32),
        ("telemetry_off", ctypes.c_int32),
        ("ca_pem", Text),
        ("client_certificate_file", Text),
        ("client_key_file", Text),
        ("client_certificate_pem", Text),
        ("client_key_pem", Text),
        ("metadata", ctypes.c_void_p),
        ("metadata_count", ctypes.c_size_t),
        ("keepalive_time_ns", ctypes.c_int64),
        ("keepalive_timeout_ns", ctypes.c_int64),
        ("telemetry_queue", ctypes.c_uint64),
        ("telemetry_batch", ctypes.c_uint64),
        ("telemetry_interval_ns", ctypes.c_int64),
        ("compression", ctypes.c_int32),
        ("skip_verify", ctypes.c_int32),
        ("max_labels", ctypes.c_uint64),
        ("max_waiting", ctypes.c_uint64),
        ("cache_bytes", ctypes.c_uint64),
    ]



class FlowParams(ctypes.Structure):
    """aperture_flow_params; include/aperture.h says what its fields mean."""

    struct_size: int
    control_point: Text
    labels: Optional[int]
    label_count: int
    check_timeout_ns: int
    ramp_mode: int
    reserved: int
    baggage: Text
    result_cache_key: Text
    global_cache_keys: Optional[int]
    global_cache_key_count: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("control_point", Text),
        ("labels", ctypes.c_void_p),
        ("label_count", ctypes.c_size_t),
        ("check_timeout_ns", ctypes.c_int64),
        ("ramp_mode", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
        ("baggage", Text),
        ("result_cache_key", Text),
        ("global_cache_keys", ctypes.c_void_p),
        ("global_cache_key_count", ctypes.c_size_t),
    ]



class Decision(ctypes.Structure):
    """aperture_decision; include/aperture.h says what its fields mean."""

    struct_size: int
    decision: int
    should_run: int
    reject_reason: int
    unreachable_reason: int
    http_status: int
    reserved: int
    retry_after_ns: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("decision", ctypes.c_int32),
        ("should_run", ctypes.c_int32),
        ("reject_reason", ctypes.c_int32),
        ("unreachable_reason", ctypes.c_int32),
        ("http_status", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
        ("retry_after_ns", ctypes.c_int64),
    ]



class EndResult(ctypes.Structure):
    """aperture_end_result; include/aperture.h says what its fields mean."""

    struct_size: int
    flow_end_answered: int
    reference_count: int
    returned_count: int
    reserved: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("flow_end_answered", ctypes.c_int32),
        ("reference_count", ctypes.c_uint32),
        ("returned_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]



class Completion(ctypes.Structure):
    """aperture_completion; include/aperture.h says what its fields mean."""

    struct_size: int
    kind: int
    code: int
    tag: int
    call: int
    flow: int
    answer: int
    message_length: int
    message: bytes

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("kind", ctypes.c_int32),
        ("code", ctypes.c_int32),
        ("tag", ctypes.c_uint64),
        ("call", ctypes.c_uint64),
        ("flow", ctypes.c_uint64),
        ("answer", ctypes.c_uint64),
        ("message_length", ctypes.c_uint32),
        ("message", ctypes.c_char * 460),
    ]



class Stats(ctypes.Structure):
    """aperture_stats; include/aperture.h says what its fields mean."""

    struct_size: int
    flows_accepted: int
    flows_rejected: int
    flows_unreachable: int
    unreachable_timeout: int
    unreachable_unavailable: int
    unreachable_agent_error: int
    unreachable_misconfigured: int
    unreachable_cancelled: int
    unreachable_closed: int
    unreachable_overloaded: int
    flows_ended: int
    flow_ends_failed: int
    spans_exported: int
    spans_dropped: int
    spans_queued: int
    flows_sanitised: int
    calls_pending: int
    flows_never_ended: int
    cache_calls: int
    cache_calls_failed: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("flows_accepted", ctypes.c_uint64),
        ("flows_rejected", ctypes.c_uint64),
        ("flows_unreachable", ctypes.c_uint64),
        ("unreachable_timeout", ctypes.c_uint64),
        ("unreachable_unavailable", ctypes.c_uint64),
        ("unreachable_agent_error", ctypes.c_uint64),
        ("unreachable_misconfigured", ctypes.c_uint64),
        ("unreachable_cancelled", ctypes.c_uint64),
        ("unreachable_closed", ctypes.c_uint64),
        ("unreachable_overloaded", ctypes.c_uint64),
        ("flows_ended", ctypes.c_uint64),
        ("flow_ends_failed", ctypes.c_uint64),
        ("spans_exported", ctypes.c_uint64),
        ("spans_dropped", ctypes.c_uint64),
        ("spans_queued", ctypes.c_uint64),
        ("flows_sanitised", ctypes.c_uint64),
        ("calls_pending", ctypes.c_uint64),
        ("flows_never_ended", ctypes.c_uint64),
        ("cache_calls", ctypes.c_uint64),
        ("cache_calls_failed", ctypes.c_uint64),
    ]



class Attribute(ctypes.Structure):
    """aperture_attribute; include/aperture.h says what its fields mean."""

    struct_size: int
    key: Text
    kind: int
    reserved: int
    text: Text
    integer: int
    number: float

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("key", Text),
        ("kind", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
        ("text", Text),
        ("integer", ctypes.c_int64),
        ("number", ctypes.c_double),
    ]



class CacheKeys(ctypes.Structure):
    """aperture_cache_keys; include/aperture.h says what its fields mean."""

    struct_size: int
    control_point: Text
    result_key: Text
    global_keys: Optional[int]
    global_key_count: int
    timeout_ns: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("control_point", Text),
        ("result_key", Text),
        ("global_keys", ctypes.c_void_p),
        ("global_key_count", ctypes.c_size_t),
        ("timeout_ns", ctypes.c_int64),
    ]



class CacheEntry(ctypes.Structure):
    """aperture_cache_entry; include/aperture.h says what its fields mean."""

    struct_size: int
    control_point: Text
    key: Text
    value: Bytes
    ttl_ns: int
    timeout_ns: int
    scope: int
    reserved: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("control_point", Text),
        ("key", Text),
        ("value", Bytes),
        ("ttl_ns", ctypes.c_int64),
        ("timeout_ns", ctypes.c_int64),
        ("scope", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
    ]



class CacheKey(ctypes.Structure):
    """aperture_cache_key; include/aperture.h says what its fields mean."""

    struct_size: int
    control_point: Text
    key: Text
    timeout_ns: int
    scope: int
    reserved: int

    _fields_ = [
        ("struct_size", ctypes.c_size_t),
        ("control_point", Text),
        ("key", Text),
        ("timeout_ns", ctypes.c_int64),
        ("scope", ctypes.c_int32),
        ("reserved", ctypes.c_uint32),
    ]


STRUCTS: Dict[str, Any] = {
    "text": Text,
    "label": Label,
    "bytes": Bytes,
    "error": Error,
    "process_options": ProcessOptions,
    "client_options": ClientOptions,
    "flow_params": FlowParams,
    "decision": Decision,
    "end_result": EndResult,
    "completion": Completion,
    "stats": Stats,
    "attribute": Attribute,
    "cache_keys": CacheKeys,
    "cache_entry": CacheEntry,
    "cache_key": CacheKey,
}

ENUMS: Dict[str, Any] = {
    "code": Code,
    "decision_type": DecisionType,
    "reject_reason": RejectReason,
    "unreachable_reason": UnreachableReason,
    "flow_status": FlowStatus,
    "log_level": LogLevel,
    "completion_kind": CompletionKind,
    "connection_state": ConnectionState,
    "compression": Compression,
    "cache_scope": CacheScope,
    "lookup_status": LookupStatus,
    "attribute_kind": AttributeKind,
}

# Every function: its result and its parameters. Handles are 64-bit numbers; every pointer is a c_void_p, which takes an
# address, a byref() or an array.
FUNCTIONS: Dict[str, Tuple[Any, List[Any]]] = {
    "aperture_version": (
        ctypes.c_char_p,
        [
        ],
    ),
    "aperture_abi_version": (
        ctypes.c_uint32,
        [
        ],
    ),
    "aperture_error_name": (
        ctypes.c_char_p,
        [
            ctypes.c_int32,  # code
        ],
    ),
    "aperture_error_description": (
        ctypes.c_char_p,
        [
            ctypes.c_int32,  # code
        ],
    ),
    "aperture_live_handles": (
        ctypes.c_uint64,
        [
        ],
    ),
    "aperture_configure": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,  # options
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_protect_signal_handlers": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_close_clients_with_thread": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_options_from_environment": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,  # options
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_new_client": (
        ctypes.c_int32,
        [
            ctypes.c_void_p,  # options
            ctypes.c_void_p,  # client
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_wait_ready": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_int64,  # timeout_ns
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_wait_ready_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_int64,  # timeout_ns
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_state": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # state
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_stats": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # stats
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_reload": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_snapshot": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # buffer
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # length
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_close": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_int64,  # timeout_ns
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_close_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_int64,  # timeout_ns
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_start_flow": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # params
            ctypes.c_void_p,  # flow
            ctypes.c_void_p,  # decision
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_start_flow_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # params
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # flow
            ctypes.c_void_p,  # decision
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_should_run": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # should_run
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_decision": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # decision
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_error": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # failure
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_check_response": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # buffer
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # length
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_cache_value": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_int32,  # scope
            ctypes.c_void_p,  # key
            ctypes.c_void_p,  # status
            ctypes.c_void_p,  # buffer
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # length
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_set_attribute": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # attribute
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_set_status": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_int32,  # status
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_end": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # result
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_end_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # result
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_end_result": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # result
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_end_response": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # buffer
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # length
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_flow_close": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # flow
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_lookup": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # keys
            ctypes.c_void_p,  # answer
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_lookup_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # keys
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # answer
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_answer_value": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # answer
            ctypes.c_int32,  # scope
            ctypes.c_void_p,  # key
            ctypes.c_void_p,  # status
            ctypes.c_void_p,  # buffer
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # length
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_answer_close": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # answer
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_set": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # entry
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_set_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # entry
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_delete": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # key
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_cache_delete_async": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # key
            ctypes.c_uint64,  # tag
            ctypes.c_void_p,  # call
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_completion_fd": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # fd
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_client_poll": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # client
            ctypes.c_void_p,  # completions
            ctypes.c_size_t,  # capacity
            ctypes.c_void_p,  # count
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_call_wait": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # call
            ctypes.c_int64,  # timeout_ns
            ctypes.c_void_p,  # completion
            ctypes.c_void_p,  # error
        ],
    ),
    "aperture_call_cancel": (
        ctypes.c_int32,
        [
            ctypes.c_uint64,  # call
            ctypes.c_void_p,  # error
        ],
    ),
}


def declare(library: ctypes.CDLL) -> None:
    """Give every function of a loaded library its prototype. Raises AttributeError for one that it lacks."""
    for name, (result, parameters) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = parameters
