'use strict';

// The C ABI of libaperture for koffi: constants, enumerations, struct layouts and prototypes. Structs are read and
// written in Buffers by the offsets given here; handles are numbers below 2 ** 53.
//
// Generated from abi/aperture.yaml; do not edit.

exports.VERSION = '0.5.0';
exports.ABI_VERSION = 5;
exports.SONAME = 'libaperture.so.0';

exports.DEFAULT_CHECK_TIMEOUT_NS = 200000000;
exports.MAX_CHECK_TIMEOUT_NS = 86400000000000;
exports.DEFAULT_FLOW_END_TIMEOUT_NS = 1000000000;
exports.DEFAULT_CACHE_TIMEOUT_NS = 1000000000;
exports.MAX_CACHE_VALUE_BYTES = 4000000;
exports.MAX_CACHE_TTL_NS = 604800000000000;
exports.MIN_KEEPALIVE_TIME_NS = 300000000000;
exports.DEFAULT_CLOSE_TIMEOUT_NS = 5000000000;
exports.DEFAULT_MAX_PENDING_CALLS = 65536;
exports.NO_RETRY_AFTER = -1;

// What a function returns. Errors are negative.
exports.Code = Object.freeze({
  OK: 0,
  PENDING: 1,
  ERROR_INVALID_ARGUMENT: -1,
  ERROR_INVALID_HANDLE: -2,
  ERROR_CLOSED: -3,
  ERROR_ALREADY_ENDED: -4,
  ERROR_UNREACHABLE: -5,
  ERROR_TIMEOUT: -6,
  ERROR_CANCELLED: -7,
  ERROR_POLICY: -8,
  ERROR_BUFFER_TOO_SMALL: -9,
  ERROR_RESOURCE_EXHAUSTED: -10,
  ERROR_INTERNAL: -11,
  ERROR_FORKED: -12,
  ERROR_AGENT: -13,
  ERROR_NO_ANSWER: -14,
});

// What was decided about a flow.
exports.DecisionType = Object.freeze({
  ACCEPTED: 0,
  REJECTED: 1,
  UNREACHABLE: 2,
});

// Which kind of component rejected a flow.
exports.RejectReason = Object.freeze({
  REJECT_REASON_NONE: 0,
  REJECT_REASON_RATE_LIMITED: 1,
  REJECT_REASON_NO_TOKENS: 2,
  REJECT_REASON_NOT_SAMPLED: 3,
  REJECT_REASON_NO_MATCHING_RAMP: 4,
});

// Why nothing was decided.
exports.UnreachableReason = Object.freeze({
  UNREACHABLE_REASON_NONE: 0,
  UNREACHABLE_REASON_TIMEOUT: 1,
  UNREACHABLE_REASON_UNAVAILABLE: 2,
  UNREACHABLE_REASON_AGENT_ERROR: 3,
  UNREACHABLE_REASON_MISCONFIGURED: 4,
  UNREACHABLE_REASON_CANCELLED: 5,
  UNREACHABLE_REASON_CLOSED: 6,
  UNREACHABLE_REASON_OVERLOADED: 7,
});

// How the work of a flow went.
exports.FlowStatus = Object.freeze({
  FLOW_STATUS_OK: 0,
  FLOW_STATUS_ERROR: 1,
});

// How serious a line of the log is. A level includes all that is more serious.
exports.LogLevel = Object.freeze({
  LOG_LEVEL_DEBUG: -2,
  LOG_LEVEL_INFO: -1,
  LOG_LEVEL_WARNING: 0,
  LOG_LEVEL_ERROR: 1,
});

// Which asynchronous call a completion belongs to.
exports.CompletionKind = Object.freeze({
  COMPLETION_START_FLOW: 1,
  COMPLETION_FLOW_END: 2,
  COMPLETION_WAIT_READY: 3,
  COMPLETION_CLOSE: 4,
  COMPLETION_CACHE_LOOKUP: 5,
  COMPLETION_CACHE_SET: 6,
  COMPLETION_CACHE_DELETE: 7,
});

// How a client's connection to its agent is. An engine in this process is always ready.
exports.ConnectionState = Object.freeze({
  CONNECTION_IDLE: 0,
  CONNECTION_CONNECTING: 1,
  CONNECTION_READY: 2,
  CONNECTION_FAILING: 3,
  CONNECTION_CLOSED: 4,
});

// How the messages to an agent are compressed.
exports.Compression = Object.freeze({
  COMPRESSION_NONE: 0,
  COMPRESSION_GZIP: 1,
});

// Which of an agent's caches an entry is in.
exports.CacheScope = Object.freeze({
  CACHE_RESULT: 0,
  CACHE_GLOBAL: 1,
});

// Whether the cache had an entry.
exports.LookupStatus = Object.freeze({
  LOOKUP_MISS: 0,
  LOOKUP_HIT: 1,
});

// Which field of an aperture_attribute has its value.
exports.AttributeKind = Object.freeze({
  ATTRIBUTE_TEXT: 0,
  ATTRIBUTE_INTEGER: 1,
  ATTRIBUTE_NUMBER: 2,
});

exports.enums = Object.freeze({
  code: exports.Code,
  decision_type: exports.DecisionType,
  reject_reason: exports.RejectReason,
  unreachable_reason: exports.UnreachableReason,
  flow_status: exports.FlowStatus,
  log_level: exports.LogLevel,
  completion_kind: exports.CompletionKind,
  connection_state: exports.ConnectionState,
  compression: exports.Compression,
  cache_scope: exports.CacheScope,
  lookup_status: exports.LookupStatus,
  attribute_kind: exports.AttributeKind,
});

// Layouts: the size of each struct, and the offset, size and kind of each field, in bytes.
exports.structs = Object.freeze({
  text: {
    size: 16,
    fields: {
      data: { offset: 0, size: 8, kind: 'pointer' },
      length: { offset: 8, size: 8, kind: 'size' },
    },
  },
  label: {
    size: 32,
    fields: {
      key: { offset: 0, size: 16, kind: 'text' },
      value: { offset: 16, size: 16, kind: 'text' },
    },
  },
  bytes: {
    size: 16,
    fields: {
      data: { offset: 0, size: 8, kind: 'pointer' },
      length: { offset: 8, size: 8, kind: 'size' },
    },
  },
  error: {
    size: 1024,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      code: { offset: 8, size: 4, kind: 'i32' },
      message_length: { offset: 12, size: 4, kind: 'u32' },
      message: { offset: 16, size: 1008, kind: 'char' },
    },
  },
  process_options: {
    size: 24,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      log_fd: { offset: 8, size: 4, kind: 'i32' },
      log_level: { offset: 12, size: 4, kind: 'i32' },
      max_procs: { offset: 16, size: 4, kind: 'i32' },
      leave_signal_handlers: { offset: 20, size: 4, kind: 'i32' },
    },
  },
  client_options: {
    size: 280,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      address: { offset: 8, size: 16, kind: 'text' },
      api_key: { offset: 24, size: 16, kind: 'text' },
      ca_file: { offset: 40, size: 16, kind: 'text' },
      server_name: { offset: 56, size: 16, kind: 'text' },
      user_agent: { offset: 72, size: 16, kind: 'text' },
      flow_end_timeout_ns: { offset: 88, size: 8, kind: 'i64' },
      max_pending_calls: { offset: 96, size: 8, kind: 'u64' },
      insecure: { offset: 104, size: 4, kind: 'i32' },
      telemetry_off: { offset: 108, size: 4, kind: 'i32' },
      ca_pem: { offset: 112, size: 16, kind: 'text' },
      client_certificate_file: { offset: 128, size: 16, kind: 'text' },
      client_key_file: { offset: 144, size: 16, kind: 'text' },
      client_certificate_pem: { offset: 160, size: 16, kind: 'text' },
      client_key_pem: { offset: 176, size: 16, kind: 'text' },
      metadata: { offset: 192, size: 8, kind: 'pointer' },
      metadata_count: { offset: 200, size: 8, kind: 'size' },
      keepalive_time_ns: { offset: 208, size: 8, kind: 'i64' },
      keepalive_timeout_ns: { offset: 216, size: 8, kind: 'i64' },
      telemetry_queue: { offset: 224, size: 8, kind: 'u64' },
      telemetry_batch: { offset: 232, size: 8, kind: 'u64' },
      telemetry_interval_ns: { offset: 240, size: 8, kind: 'i64' },
      compression: { offset: 248, size: 4, kind: 'i32' },
      skip_verify: { offset: 252, size: 4, kind: 'i32' },
      max_labels: { offset: 256, size: 8, kind: 'u64' },
      max_waiting: { offset: 264, size: 8, kind: 'u64' },
      cache_bytes: { offset: 272, size: 8, kind: 'u64' },
    },
  },
  flow_params: {
    size: 104,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      control_point: { offset: 8, size: 16, kind: 'text' },
      labels: { offset: 24, size: 8, kind: 'pointer' },
      label_count: { offset: 32, size: 8, kind: 'size' },
      check_timeout_ns: { offset: 40, size: 8, kind: 'i64' },
      ramp_mode: { offset: 48, size: 4, kind: 'i32' },
      reserved: { offset: 52, size: 4, kind: 'u32' },
      baggage: { offset: 56, size: 16, kind: 'text' },
      result_cache_key: { offset: 72, size: 16, kind: 'text' },
      global_cache_keys: { offset: 88, size: 8, kind: 'pointer' },
      global_cache_key_count: { offset: 96, size: 8, kind: 'size' },
    },
  },
  decision: {
    size: 40,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      decision: { offset: 8, size: 4, kind: 'i32' },
      should_run: { offset: 12, size: 4, kind: 'i32' },
      reject_reason: { offset: 16, size: 4, kind: 'i32' },
      unreachable_reason: { offset: 20, size: 4, kind: 'i32' },
      http_status: { offset: 24, size: 4, kind: 'i32' },
      reserved: { offset: 28, size: 4, kind: 'u32' },
      retry_after_ns: { offset: 32, size: 8, kind: 'i64' },
    },
  },
  end_result: {
    size: 24,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      flow_end_answered: { offset: 8, size: 4, kind: 'i32' },
      reference_count: { offset: 12, size: 4, kind: 'u32' },
      returned_count: { offset: 16, size: 4, kind: 'u32' },
      reserved: { offset: 20, size: 4, kind: 'u32' },
    },
  },
  completion: {
    size: 512,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      kind: { offset: 8, size: 4, kind: 'i32' },
      code: { offset: 12, size: 4, kind: 'i32' },
      tag: { offset: 16, size: 8, kind: 'u64' },
      call: { offset: 24, size: 8, kind: 'handle' },
      flow: { offset: 32, size: 8, kind: 'handle' },
      answer: { offset: 40, size: 8, kind: 'handle' },
      message_length: { offset: 48, size: 4, kind: 'u32' },
      message: { offset: 52, size: 460, kind: 'char' },
    },
  },
  stats: {
    size: 168,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      flows_accepted: { offset: 8, size: 8, kind: 'u64' },
      flows_rejected: { offset: 16, size: 8, kind: 'u64' },
      flows_unreachable: { offset: 24, size: 8, kind: 'u64' },
      unreachable_timeout: { offset: 32, size: 8, kind: 'u64' },
      unreachable_unavailable: { offset: 40, size: 8, kind: 'u64' },
      unreachable_agent_error: { offset: 48, size: 8, kind: 'u64' },
      unreachable_misconfigured: { offset: 56, size: 8, kind: 'u64' },
      unreachable_cancelled: { offset: 64, size: 8, kind: 'u64' },
      unreachable_closed: { offset: 72, size: 8, kind: 'u64' },
      unreachable_overloaded: { offset: 80, size: 8, kind: 'u64' },
      flows_ended: { offset: 88, size: 8, kind: 'u64' },
      flow_ends_failed: { offset: 96, size: 8, kind: 'u64' },
      spans_exported: { offset: 104, size: 8, kind: 'u64' },
      spans_dropped: { offset: 112, size: 8, kind: 'u64' },
      spans_queued: { offset: 120, size: 8, kind: 'u64' },
      flows_sanitised: { offset: 128, size: 8, kind: 'u64' },
      calls_pending: { offset: 136, size: 8, kind: 'u64' },
      flows_never_ended: { offset: 144, size: 8, kind: 'u64' },
      cache_calls: { offset: 152, size: 8, kind: 'u64' },
      cache_calls_failed: { offset: 160, size: 8, kind: 'u64' },
    },
  },
  attribute: {
    size: 64,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      key: { offset: 8, size: 16, kind: 'text' },
      kind: { offset: 24, size: 4, kind: 'i32' },
      reserved: { offset: 28, size: 4, kind: 'u32' },
      text: { offset: 32, size: 16, kind: 'text' },
      integer: { offset: 48, size: 8, kind: 'i64' },
      number: { offset: 56, size: 8, kind: 'f64' },
    },
  },
  cache_keys: {
    size: 64,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      control_point: { offset: 8, size: 16, kind: 'text' },
      result_key: { offset: 24, size: 16, kind: 'text' },
      global_keys: { offset: 40, size: 8, kind: 'pointer' },
      global_key_count: { offset: 48, size: 8, kind: 'size' },
      timeout_ns: { offset: 56, size: 8, kind: 'i64' },
    },
  },
  cache_entry: {
    size: 80,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      control_point: { offset: 8, size: 16, kind: 'text' },
      key: { offset: 24, size: 16, kind: 'text' },
      value: { offset: 40, size: 16, kind: 'bytes' },
      ttl_ns: { offset: 56, size: 8, kind: 'i64' },
      timeout_ns: { offset: 64, size: 8, kind: 'i64' },
      scope: { offset: 72, size: 4, kind: 'i32' },
      reserved: { offset: 76, size: 4, kind: 'u32' },
    },
  },
  cache_key: {
    size: 56,
    fields: {
      struct_size: { offset: 0, size: 8, kind: 'size' },
      control_point: { offset: 8, size: 16, kind: 'text' },
      key: { offset: 24, size: 16, kind: 'text' },
      timeout_ns: { offset: 40, size: 8, kind: 'i64' },
      scope: { offset: 48, size: 4, kind: 'i32' },
      reserved: { offset: 52, size: 4, kind: 'u32' },
    },
  },
});

// Prototypes: the result and the parameters of each function, in koffi's names. Every pointer is a 'void *'.
exports.functions = Object.freeze({
  aperture_version: { result: 'str', parameters: [] },
  aperture_abi_version: { result: 'uint32', parameters: [] },
  aperture_error_name: { result: 'str', parameters: ['int32'] },
  aperture_error_description: { result: 'str', parameters: ['int32'] },
  aperture_live_handles: { result: 'uint64', parameters: [] },
  aperture_configure: { result: 'int32', parameters: ['void *', 'void *'] },
  aperture_protect_signal_handlers: { result: 'int32', parameters: ['void *'] },
  aperture_close_clients_with_thread: { result: 'int32', parameters: ['void *'] },
  aperture_client_options_from_environment: { result: 'int32', parameters: ['void *', 'void *'] },
  aperture_new_client: { result: 'int32', parameters: ['void *', 'void *', 'void *'] },
  aperture_client_wait_ready: { result: 'int32', parameters: ['uint64', 'int64', 'void *'] },
  aperture_client_wait_ready_async: { result: 'int32', parameters: ['uint64', 'int64', 'uint64', 'void *', 'void *'] },
  aperture_client_state: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_client_stats: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_client_reload: { result: 'int32', parameters: ['uint64', 'void *'] },
  aperture_client_snapshot: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_client_close: { result: 'int32', parameters: ['uint64', 'int64', 'void *'] },
  aperture_client_close_async: { result: 'int32', parameters: ['uint64', 'int64', 'uint64', 'void *', 'void *'] },
  aperture_start_flow: { result: 'int32', parameters: ['uint64', 'void *', 'void *', 'void *', 'void *'] },
  aperture_start_flow_async: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *', 'void *', 'void *'] },
  aperture_flow_should_run: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_decision: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_error: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_check_response: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_flow_cache_value: { result: 'int32', parameters: ['uint64', 'int32', 'void *', 'void *', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_flow_set_attribute: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_set_status: { result: 'int32', parameters: ['uint64', 'int32', 'void *'] },
  aperture_flow_end: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_end_async: { result: 'int32', parameters: ['uint64', 'uint64', 'void *', 'void *', 'void *'] },
  aperture_flow_end_result: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_flow_end_response: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_flow_close: { result: 'int32', parameters: ['uint64', 'void *'] },
  aperture_cache_lookup: { result: 'int32', parameters: ['uint64', 'void *', 'void *', 'void *'] },
  aperture_cache_lookup_async: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *', 'void *'] },
  aperture_cache_answer_value: { result: 'int32', parameters: ['uint64', 'int32', 'void *', 'void *', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_cache_answer_close: { result: 'int32', parameters: ['uint64', 'void *'] },
  aperture_cache_set: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_cache_set_async: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_cache_delete: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_cache_delete_async: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_client_completion_fd: { result: 'int32', parameters: ['uint64', 'void *', 'void *'] },
  aperture_client_poll: { result: 'int32', parameters: ['uint64', 'void *', 'uint64', 'void *', 'void *'] },
  aperture_call_wait: { result: 'int32', parameters: ['uint64', 'int64', 'void *', 'void *'] },
  aperture_call_cancel: { result: 'int32', parameters: ['uint64', 'void *'] },
});
