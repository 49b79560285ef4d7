/*
 * libaperture 0.5.0 - flow control with FluxNinja Aperture, for C, C++ and every language that can call C.
 *
 * A flow is a piece of work that asks before it runs:
 *
 *     aperture_client_options options = APERTURE_CLIENT_OPTIONS_INIT;
 *     aperture_client client;
 *     aperture_error error = APERTURE_ERROR_INIT;
 *     options.address = aperture_text_of("local:policies.yaml");
 *     if (aperture_new_client(&options, &client, &error) != APERTURE_OK) { ... error.message ... }
 *
 *     aperture_flow_params params = APERTURE_FLOW_PARAMS_INIT;
 *     aperture_decision decision = APERTURE_DECISION_INIT;
 *     aperture_flow flow;
 *     params.control_point = aperture_text_of("checkout");
 *     if (aperture_start_flow(client, &params, &flow, &decision, &error) == APERTURE_OK) {
 *         if (decision.should_run) { ... the work ... }
 *         aperture_flow_end(flow, NULL, NULL);
 *         aperture_flow_close(flow, NULL);
 *     }
 *     aperture_client_close(client, 0, NULL);
 *
 * Threads. Every function may be called from every thread, at the same time, on the same handle. A function that may
 * block says so. No function calls back into the host.
 *
 * Handles are numbers in the clothes of a pointer, never dereferenced: a handle that is NULL, stale, of another kind or
 * invented gets APERTURE_ERROR_INVALID_HANDLE.
 *
 * Structs that may grow start with their struct_size. Set it with the struct's _INIT macro. The library writes no more
 * than that, and refuses a larger struct whose surplus is not zero: it was made for a newer library.
 *
 * Errors. A call that can fail returns an aperture_code and describes it in an aperture_error that belongs to the
 * caller. Nothing about errors is kept per thread.
 *
 * Asynchronous calls return APERTURE_OK when they are done at once, or APERTURE_PENDING with a call. Completions are
 * taken with aperture_client_poll when the descriptor of aperture_client_completion_fd becomes readable, or one by one
 * with aperture_call_wait.
 *
 * Generated from abi/aperture.yaml; do not edit.
 */
#ifndef APERTURE_H
#define APERTURE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define APERTURE_API __attribute__((visibility("default")))
#else
#define APERTURE_API
#endif

/* The version of this header; aperture_version() tells that of the library. */
#define APERTURE_VERSION_MAJOR 0
#define APERTURE_VERSION_MINOR 5
#define APERTURE_VERSION_PATCH 0
#define APERTURE_VERSION "0.5.0"

/* The version of the ABI that this header describes; aperture_abi_version() tells that of the library. */
#define APERTURE_ABI_VERSION 5

/*
 * How long a check may take when aperture_flow_params.check_timeout_ns is 0, in nanoseconds (200 ms).
 */
#define APERTURE_DEFAULT_CHECK_TIMEOUT_NS INT64_C(200000000)

/*
 * The longest check timeout, in nanoseconds (24 h). A longer one is cut to it.
 */
#define APERTURE_MAX_CHECK_TIMEOUT_NS INT64_C(86400000000000)

/*
 * How long giving back in-flight tokens may take when aperture_client_options.flow_end_timeout_ns is 0, in
 * nanoseconds (1 s).
 */
#define APERTURE_DEFAULT_FLOW_END_TIMEOUT_NS INT64_C(1000000000)

/*
 * How long a call to the cache may take when its timeout_ns is 0, in nanoseconds (1 s).
 */
#define APERTURE_DEFAULT_CACHE_TIMEOUT_NS INT64_C(1000000000)

/*
 * How many bytes a cached value may have, its key and control point included.
 */
#define APERTURE_MAX_CACHE_VALUE_BYTES INT64_C(4000000)

/*
 * The longest that a cached value may live, in nanoseconds (7 days). A longer time to live is cut to it, as agents
 * do.
 */
#define APERTURE_MAX_CACHE_TTL_NS INT64_C(604800000000000)

/*
 * The shortest aperture_client_options.keepalive_time_ns, in nanoseconds (5 minutes). A gRPC server with default
 * settings, such as an agent, ends connections that are pinged more often, and the calls that wait on them.
 */
#define APERTURE_MIN_KEEPALIVE_TIME_NS INT64_C(300000000000)

/*
 * How long closing a client may take when its timeout is 0, in nanoseconds (5 s).
 */
#define APERTURE_DEFAULT_CLOSE_TIMEOUT_NS INT64_C(5000000000)

/*
 * How many asynchronous calls of one client may be pending when aperture_client_options.max_pending_calls is 0.
 */
#define APERTURE_DEFAULT_MAX_PENDING_CALLS INT64_C(65536)

/*
 * The value of aperture_decision.retry_after_ns when the decision names no time to wait.
 */
#define APERTURE_NO_RETRY_AFTER (-INT64_C(1))

/* ---- Handles ---- */

/*
 * A client - a connection to one Aperture agent, or a local engine, with its telemetry. Released by
 * aperture_client_close.
 */
typedef struct aperture_client_handle *aperture_client;

/*
 * One flow, from its decision to its end. Released by aperture_flow_close.
 */
typedef struct aperture_flow_handle *aperture_flow;

/*
 * What a look-up in the cache found. Released by aperture_cache_answer_close.
 */
typedef struct aperture_cache_answer_handle *aperture_cache_answer;

/*
 * An asynchronous call that is pending. Released when its completion is handed out by aperture_client_poll or
 * aperture_call_wait.
 */
typedef struct aperture_call_handle *aperture_call;

/* ---- Enumerations ---- */

/*
 * What a function returns. Errors are negative.
 */
typedef int32_t aperture_code;
enum {
    /* The call did what it says. */
    APERTURE_OK = 0,
    /* The call goes on; its completion will be delivered. */
    APERTURE_PENDING = 1,
    /* An argument is wrong; the message names it and says what would be right. */
    APERTURE_ERROR_INVALID_ARGUMENT = -1,
    /* The handle is NULL, of another kind, was closed, or never existed. */
    APERTURE_ERROR_INVALID_HANDLE = -2,
    /* The client is being closed. */
    APERTURE_ERROR_CLOSED = -3,
    /* The flow was ended before. */
    APERTURE_ERROR_ALREADY_ENDED = -4,
    /* The agent could not be reached or did not answer; this is never a rejection. */
    APERTURE_ERROR_UNREACHABLE = -5,
    /* The time of the call ran out. */
    APERTURE_ERROR_TIMEOUT = -6,
    /* The call was cancelled by aperture_call_cancel. */
    APERTURE_ERROR_CANCELLED = -7,
    /* A policy file of a local: address is missing or wrong; the message has file, line and column. */
    APERTURE_ERROR_POLICY = -8,
    /* The buffer is too small; the length that is needed was stored. */
    APERTURE_ERROR_BUFFER_TOO_SMALL = -9,
    /* The process has no more of something, such as file descriptors; or a signal handler has interrupted a call
     * of the library on this thread, and makes another (every function). */
    APERTURE_ERROR_RESOURCE_EXHAUSTED = -10,
    /* A defect of the library; please report its message. */
    APERTURE_ERROR_INTERNAL = -11,
    /* The handle belongs to the process that this one was forked from. Make a new client here. */
    APERTURE_ERROR_FORKED = -12,
    /* The agent answered, with an error about this one cache entry; the message is the agent's. */
    APERTURE_ERROR_AGENT = -13,
    /* The agent's answer says nothing about this cache entry: it was not asked for, or the flow was rejected
     * before the agent looked. */
    APERTURE_ERROR_NO_ANSWER = -14
};

/*
 * What was decided about a flow.
 */
typedef int32_t aperture_decision_type;
enum {
    /* The flow may run. */
    APERTURE_ACCEPTED = 0,
    /* The flow must not run. */
    APERTURE_REJECTED = 1,
    /* Nothing was decided: the flow may run (fail-open), except in ramp mode. */
    APERTURE_UNREACHABLE = 2
};

/*
 * Which kind of component rejected a flow.
 */
typedef int32_t aperture_reject_reason;
enum {
    /* The flow was not rejected. */
    APERTURE_REJECT_REASON_NONE = 0,
    /* A rate limiter or a concurrency limiter. */
    APERTURE_REJECT_REASON_RATE_LIMITED = 1,
    /* A scheduler. */
    APERTURE_REJECT_REASON_NO_TOKENS = 2,
    /* A sampler. */
    APERTURE_REJECT_REASON_NOT_SAMPLED = 3,
    /* In ramp mode, no load ramp admitted the flow. */
    APERTURE_REJECT_REASON_NO_MATCHING_RAMP = 4
};

/*
 * Why nothing was decided.
 */
typedef int32_t aperture_unreachable_reason;
enum {
    /* There is a decision. */
    APERTURE_UNREACHABLE_REASON_NONE = 0,
    /* No answer came within the check timeout. */
    APERTURE_UNREACHABLE_REASON_TIMEOUT = 1,
    /* There is no connection to the agent, or it broke. */
    APERTURE_UNREACHABLE_REASON_UNAVAILABLE = 2,
    /* The agent answered with an error of its own. */
    APERTURE_UNREACHABLE_REASON_AGENT_ERROR = 3,
    /* The agent refuses this client, or its certificate is not trusted. This is the caller's to repair. */
    APERTURE_UNREACHABLE_REASON_MISCONFIGURED = 4,
    /* The caller gave up. */
    APERTURE_UNREACHABLE_REASON_CANCELLED = 5,
    /* The client was closed. */
    APERTURE_UNREACHABLE_REASON_CLOSED = 6,
    /* Too many calls of this client were pending already. */
    APERTURE_UNREACHABLE_REASON_OVERLOADED = 7
};

/*
 * How the work of a flow went.
 */
typedef int32_t aperture_flow_status;
enum {
    /* It worked. This is the status of a flow that sets none. */
    APERTURE_FLOW_STATUS_OK = 0,
    /* It failed. */
    APERTURE_FLOW_STATUS_ERROR = 1
};

/*
 * How serious a line of the log is. A level includes all that is more serious.
 */
typedef int32_t aperture_log_level;
enum {
    /* What helps to find a defect. */
    APERTURE_LOG_LEVEL_DEBUG = -2,
    /* What happens in ordinary operation. */
    APERTURE_LOG_LEVEL_INFO = -1,
    /* What an operator should know: decisions that could not be had, spans that were lost. */
    APERTURE_LOG_LEVEL_WARNING = 0,
    /* What an operator must repair, and defects of the library. */
    APERTURE_LOG_LEVEL_ERROR = 1
};

/*
 * Which asynchronous call a completion belongs to.
 */
typedef int32_t aperture_completion_kind;
enum {
    /* aperture_start_flow_async */
    APERTURE_COMPLETION_START_FLOW = 1,
    /* aperture_flow_end_async */
    APERTURE_COMPLETION_FLOW_END = 2,
    /* aperture_client_wait_ready_async */
    APERTURE_COMPLETION_WAIT_READY = 3,
    /* aperture_client_close_async */
    APERTURE_COMPLETION_CLOSE = 4,
    /* aperture_cache_lookup_async */
    APERTURE_COMPLETION_CACHE_LOOKUP = 5,
    /* aperture_cache_set_async */
    APERTURE_COMPLETION_CACHE_SET = 6,
    /* aperture_cache_delete_async */
    APERTURE_COMPLETION_CACHE_DELETE = 7
};

/*
 * How a client's connection to its agent is. An engine in this process is always ready.
 */
typedef int32_t aperture_connection_state;
enum {
    /* There is no connection; one will be made at once. */
    APERTURE_CONNECTION_IDLE = 0,
    /* A connection is being made. */
    APERTURE_CONNECTION_CONNECTING = 1,
    /* The agent can be asked. */
    APERTURE_CONNECTION_READY = 2,
    /* The last attempt to connect failed; another one follows. */
    APERTURE_CONNECTION_FAILING = 3,
    /* The client is closed, or is being closed. */
    APERTURE_CONNECTION_CLOSED = 4
};

/*
 * How the messages to an agent are compressed.
 */
typedef int32_t aperture_compression;
enum {
    /* Not at all. */
    APERTURE_COMPRESSION_NONE = 0,
    /* With gzip. */
    APERTURE_COMPRESSION_GZIP = 1
};

/*
 * Which of an agent's caches an entry is in.
 */
typedef int32_t aperture_cache_scope;
enum {
    /* The result cache: results of flows, for each control point its own. */
    APERTURE_CACHE_RESULT = 0,
    /* The global cache, which all control points share. */
    APERTURE_CACHE_GLOBAL = 1
};

/*
 * Whether the cache had an entry.
 */
typedef int32_t aperture_lookup_status;
enum {
    /* It had none. */
    APERTURE_LOOKUP_MISS = 0,
    /* It had one; its value may be empty. */
    APERTURE_LOOKUP_HIT = 1
};

/*
 * Which field of an aperture_attribute has its value.
 */
typedef int32_t aperture_attribute_kind;
enum {
    /* text */
    APERTURE_ATTRIBUTE_TEXT = 0,
    /* integer */
    APERTURE_ATTRIBUTE_INTEGER = 1,
    /* number */
    APERTURE_ATTRIBUTE_NUMBER = 2
};

/* ---- Structs ---- */

/*
 * A piece of UTF-8 text: pointer and length in bytes, no terminating NUL needed. {NULL, 0} is the empty text. A NULL
 * pointer with a length is refused. See APERTURE_TEXT and aperture_text_of.
 */
typedef struct aperture_text {
    /* The first byte, or NULL for an empty text. */
    const char *data;
    /* The number of bytes. */
    size_t length;
} aperture_text;

/*
 * One key and value that describe a flow.
 */
typedef struct aperture_label {
    /* The key. */
    aperture_text key;
    /* The value; it may be empty. */
    aperture_text value;
} aperture_label;

/*
 * Any bytes, such as a value for the cache. {NULL, 0} is none. A NULL pointer with a length is refused.
 */
typedef struct aperture_bytes {
    /* The first byte, or NULL. */
    const void *data;
    /* The number of bytes. */
    size_t length;
} aperture_bytes;

/*
 * What went wrong with one call. It is the caller's memory: functions write to it before they return and never keep
 * it, so it may live on the stack. A function that returns APERTURE_OK or APERTURE_PENDING clears it.
 */
typedef struct aperture_error {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* The code that the function returned. */
    aperture_code code;
    /* The length of the message in bytes. */
    uint32_t message_length;
    /* The message, UTF-8 and NUL-terminated; one that is too long is cut. */
    char message[1008];
} aperture_error;

/* An aperture_error with its struct_size set and everything else zero. */
#define APERTURE_ERROR_INIT \
    {sizeof(aperture_error), 0, 0, {0}}

/*
 * What holds for the whole process. All zero is how the library behaves when aperture_configure is never called.
 */
typedef struct aperture_process_options {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* A file descriptor that log lines are written to, one write for each line, by a thread of the library. It
     * is duplicated: the caller may close its own. 0: no log. Lines that come faster than they can be written
     * are dropped, and their number is a line of its own. */
    int32_t log_fd;
    /* The least serious level that is written. */
    aperture_log_level log_level;
    /* How many threads may run the library's Go code at the same time (Go calls it GOMAXPROCS), up to 1024; the
     * threads that the library makes are about as many, and a few more. 0: as many as there are CPUs for the
     * process. */
    int32_t max_procs;
    /* 0: every signal handler of the process gets the flag SA_ONSTACK, without which a signal that meets a
     * thread in the library corrupts memory. 1: handlers are left alone, for hosts whose handlers cannot have
     * that flag and never run on threads that call the library. */
    int32_t leave_signal_handlers;
} aperture_process_options;

/* An aperture_process_options with its struct_size set and everything else zero. */
#define APERTURE_PROCESS_OPTIONS_INIT \
    {sizeof(aperture_process_options), 0, 0, 0, 0}

/*
 * Describes the client to make. All texts are copied.
 */
typedef struct aperture_client_options {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Required. host:port, dns:///name:port or unix:///path reach an agent over gRPC; local: decides in this
     * process and accepts everything; local:policies.yaml decides in this process by that file. Several paths
     * have commas between them (local:limits.yaml,quota.yaml), and a directory stands for its files *.yaml and
     * *.yml. */
    aperture_text address;
    /* Sent as x-api-key with every call; printable ASCII. Empty: none. */
    aperture_text api_key;
    /* Path of a PEM file with the authorities to trust. Empty: the system's. */
    aperture_text ca_file;
    /* Name that the agent's certificate must have. Empty: the host of the address. */
    aperture_text server_name;
    /* Put in front of the library's own user agent. */
    aperture_text user_agent;
    /* How long giving back in-flight tokens may take, in nanoseconds. 0: APERTURE_DEFAULT_FLOW_END_TIMEOUT_NS. */
    int64_t flow_end_timeout_ns;
    /* How many asynchronous calls may be pending; a flow over it is decided at once as unreachable. 0:
     * APERTURE_DEFAULT_MAX_PENDING_CALLS. */
    uint64_t max_pending_calls;
    /* 1: no TLS. 0: TLS. */
    int32_t insecure;
    /* 1: send no spans. 0: send one for each flow that ends. */
    int32_t telemetry_off;
    /* The authorities to trust as PEM text, instead of ca_file. Since 0.3. */
    aperture_text ca_pem;
    /* Path of a PEM file with the certificate that the client shows to the agent. Empty: none. Since 0.3. */
    aperture_text client_certificate_file;
    /* Path of a PEM file with the key of client_certificate_file. Since 0.3. */
    aperture_text client_key_file;
    /* The client's certificate as PEM text, instead of client_certificate_file. Since 0.3. */
    aperture_text client_certificate_pem;
    /* The key of client_certificate_pem as PEM text. Since 0.3. */
    aperture_text client_key_pem;
    /* The first of metadata_count entries of gRPC metadata that go with every call, or NULL when there are none.
     * Keys of gRPC, x-api-key, and keys that end in -bin are refused. Since 0.3. */
    const aperture_label *metadata;
    /* The number of metadata entries, at most 64 with 8,192 bytes together. Since 0.3. */
    size_t metadata_count;
    /* How long a connection with calls may be silent until the client pings it, in nanoseconds, at least
     * APERTURE_MIN_KEEPALIVE_TIME_NS. 0: no pings; the operating system's keepalive finds dead connections all
     * the same. Since 0.3. */
    int64_t keepalive_time_ns;
    /* How long a ping may be unanswered until the connection is given up, in nanoseconds, at least 1 s, and only
     * with keepalive_time_ns. 0: 20 s. Since 0.3. */
    int64_t keepalive_timeout_ns;
    /* How many spans may wait to be sent; more are dropped, and counted. 0: 16,384. Since 0.3. */
    uint64_t telemetry_queue;
    /* How many spans are sent together at most. 0: 512. Since 0.3. */
    uint64_t telemetry_batch;
    /* How long a span waits at most until it is sent, in nanoseconds. 0: 1 s. Since 0.3. */
    int64_t telemetry_interval_ns;
    /* How messages to the agent are compressed. Since 0.3. */
    aperture_compression compression;
    /* 1: TLS that trusts every certificate, which protects from nobody who can take the agent's place; for
     * tests. 0: the agent's certificate is verified. Since 0.3. */
    int32_t skip_verify;
    /* How many label values each component of an engine in this process keeps state for, at most 1,073,741,824;
     * one more takes the place of the one that was not used for longest. 0: 1,000,000. With an agent's address
     * this and the two that follow have no effect. Since 0.5. */
    uint64_t max_labels;
    /* How many flows may wait in each scheduler of an engine in this process, at most 1,073,741,824; one more is
     * rejected. 0: 100,000. Since 0.5. */
    uint64_t max_waiting;
    /* How much memory the result cache and the global cache of an engine in this process take together at most,
     * in bytes, from 1,048,576 (1 MiB); when they are full, the entry that was not used for longest goes. 0:
     * 67,108,864 (64 MiB). Since 0.5. */
    uint64_t cache_bytes;
} aperture_client_options;

/* An aperture_client_options with its struct_size set and everything else zero. */
#define APERTURE_CLIENT_OPTIONS_INIT \
    {sizeof(aperture_client_options), {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, 0, 0, 0, 0, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/*
 * Describes the flow to start. All texts are copied.
 */
typedef struct aperture_flow_params {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Required. The name of the place in the service that the flow guards, valid UTF-8. */
    aperture_text control_point;
    /* The first of label_count labels, or NULL when there are none. */
    const aperture_label *labels;
    /* The number of labels. When a key occurs twice the later value counts. Bytes that are not UTF-8 are
     * replaced by U+FFFD. Labels and control point may have 4,000,000 bytes together. */
    size_t label_count;
    /* How long the decision may take, in nanoseconds. 0: APERTURE_DEFAULT_CHECK_TIMEOUT_NS. */
    int64_t check_timeout_ns;
    /* 1: reject unless a load ramp admits the flow, also when the agent is unreachable. 0: fail open. */
    int32_t ramp_mode;
    /* Must be 0. */
    uint32_t reserved;
    /* The value of a W3C baggage header, whose members are labels too. A label with the same key wins: what a
     * remote caller sends must not replace what the service says. Members that are malformed, and those beyond
     * the limits of the specification (64 members, 8,192 bytes), are left out. Since 0.3. */
    aperture_text baggage;
    /* Which entry of the result cache to look up with the decision, for aperture_flow_cache_value. Empty: none.
     * Since 0.3. */
    aperture_text result_cache_key;
    /* The first of global_cache_key_count keys of the global cache to look up with the decision, or NULL when
     * there are none. Since 0.3. */
    const aperture_text *global_cache_keys;
    /* The number of keys of the global cache. The keys count with the labels to the 4,000,000 bytes. Since 0.3. */
    size_t global_cache_key_count;
} aperture_flow_params;

/* An aperture_flow_params with its struct_size set and everything else zero. */
#define APERTURE_FLOW_PARAMS_INIT \
    {sizeof(aperture_flow_params), {NULL, 0}, NULL, 0, 0, 0, 0, {NULL, 0}, {NULL, 0}, NULL, 0}

/*
 * What was decided about a flow.
 */
typedef struct aperture_decision {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Accepted, rejected or unreachable. */
    aperture_decision_type decision;
    /* 1: do the work. 0: refuse it. */
    int32_t should_run;
    /* What rejected the flow. */
    aperture_reject_reason reject_reason;
    /* Why nothing was decided. */
    aperture_unreachable_reason unreachable_reason;
    /* The HTTP status to answer with: 200 when the work should run; else the policy's, or 429, 503 or 403 by the
     * reject reason; 503 when unreachable in ramp mode. */
    int32_t http_status;
    /* 0. */
    uint32_t reserved;
    /* How long a rejected caller should wait before it tries again, in nanoseconds, or APERTURE_NO_RETRY_AFTER. */
    int64_t retry_after_ns;
} aperture_decision;

/* An aperture_decision with its struct_size set and everything else zero. */
#define APERTURE_DECISION_INIT \
    {sizeof(aperture_decision), 0, 0, 0, 0, 0, 0, 0}

/*
 * What ending a flow did.
 */
typedef struct aperture_end_result {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* 1: in-flight tokens were given back and the agent answered. 0: the flow held none, or the agent did not
     * answer. */
    int32_t flow_end_answered;
    /* How many admissions were given back. */
    uint32_t reference_count;
    /* How many of them the agent still knew. */
    uint32_t returned_count;
    /* 0. */
    uint32_t reserved;
} aperture_end_result;

/* An aperture_end_result with its struct_size set and everything else zero. */
#define APERTURE_END_RESULT_INIT \
    {sizeof(aperture_end_result), 0, 0, 0, 0}

/*
 * The end of an asynchronous call. aperture_client_poll fills an array of them: the struct_size of the first is the
 * distance from one to the next.
 */
typedef struct aperture_completion {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Which call ended. */
    aperture_completion_kind kind;
    /* What the blocking form would have returned. */
    aperture_code code;
    /* The tag that was given with the call. */
    uint64_t tag;
    /* The call, as a number to compare with; the handle itself is released. */
    aperture_call call;
    /* The flow that was started (now the caller's to close) or ended, or NULL. */
    aperture_flow flow;
    /* What a look-up in the cache found (now the caller's to close), or NULL. Since 0.3. */
    aperture_cache_answer answer;
    /* The length of the message in bytes. Since 0.3. */
    uint32_t message_length;
    /* What the blocking form would have said about an error, UTF-8 and NUL-terminated; one that is too long is
     * cut. Empty for APERTURE_OK. Since 0.3. */
    char message[460];
} aperture_completion;

/* An aperture_completion with its struct_size set and everything else zero. */
#define APERTURE_COMPLETION_INIT \
    {sizeof(aperture_completion), 0, 0, 0, NULL, NULL, NULL, 0, {0}}

/*
 * Counters of a client since it was made.
 */
typedef struct aperture_stats {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Flows that were accepted. */
    uint64_t flows_accepted;
    /* Flows that were rejected. */
    uint64_t flows_rejected;
    /* Flows about which nothing was decided, for any of the reasons that follow. */
    uint64_t flows_unreachable;
    /* No answer in time. */
    uint64_t unreachable_timeout;
    /* No connection. */
    uint64_t unreachable_unavailable;
    /* An error of the agent. */
    uint64_t unreachable_agent_error;
    /* Refused by the agent or not trusted. */
    uint64_t unreachable_misconfigured;
    /* Given up by the caller. */
    uint64_t unreachable_cancelled;
    /* The client was closed meanwhile. */
    uint64_t unreachable_closed;
    /* Too many calls were pending. */
    uint64_t unreachable_overloaded;
    /* Flows that were ended. */
    uint64_t flows_ended;
    /* Ends whose in-flight tokens could not be given back. */
    uint64_t flow_ends_failed;
    /* Spans that the agent took. */
    uint64_t spans_exported;
    /* Spans that were lost because the queue was full or the agent did not take them. */
    uint64_t spans_dropped;
    /* Spans that wait. */
    uint64_t spans_queued;
    /* Flows with labels that were not UTF-8 and were repaired. */
    uint64_t flows_sanitised;
    /* Asynchronous calls that are pending. */
    uint64_t calls_pending;
    /* Flows that were closed, or whose thread ended, before anybody had ended them. They count as ended too.
     * Since 0.3. */
    uint64_t flows_never_ended;
    /* Calls to the cache: look-ups of their own, sets and deletes. Since 0.3. */
    uint64_t cache_calls;
    /* Those of them that the agent could not be reached for, or answered with an error. Since 0.3. */
    uint64_t cache_calls_failed;
} aperture_stats;

/* An aperture_stats with its struct_size set and everything else zero. */
#define APERTURE_STATS_INIT \
    {sizeof(aperture_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/*
 * A key and a value that a flow's span has beside those of the library. Flux meters of policies can measure numbers.
 */
typedef struct aperture_attribute {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* The key: 1 to 256 bytes of valid UTF-8 that do not begin with "aperture.". */
    aperture_text key;
    /* Which of the following fields has the value. */
    aperture_attribute_kind kind;
    /* Must be 0. */
    uint32_t reserved;
    /* A text of at most 65,536 bytes. Bytes that are not UTF-8 are replaced by U+FFFD. */
    aperture_text text;
    /* An integer. */
    int64_t integer;
    /* A number that is finite. */
    double number;
} aperture_attribute;

/* An aperture_attribute with its struct_size set and everything else zero. */
#define APERTURE_ATTRIBUTE_INIT \
    {sizeof(aperture_attribute), {NULL, 0}, 0, 0, {NULL, 0}, 0, 0}

/*
 * Which entries of the cache to look up.
 */
typedef struct aperture_cache_keys {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Required. The control point whose result cache is meant; for the global cache the agent counts by it. */
    aperture_text control_point;
    /* Key in the result cache. Empty: none. */
    aperture_text result_key;
    /* The first of global_key_count keys in the global cache, or NULL when there are none. */
    const aperture_text *global_keys;
    /* The number of keys in the global cache. There must be at least one key. */
    size_t global_key_count;
    /* How long the call may take, in nanoseconds. 0: APERTURE_DEFAULT_CACHE_TIMEOUT_NS. */
    int64_t timeout_ns;
} aperture_cache_keys;

/* An aperture_cache_keys with its struct_size set and everything else zero. */
#define APERTURE_CACHE_KEYS_INIT \
    {sizeof(aperture_cache_keys), {NULL, 0}, {NULL, 0}, NULL, 0, 0}

/*
 * A value to store in the cache.
 */
typedef struct aperture_cache_entry {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Required. The control point whose result cache is meant; for the global cache the agent counts by it. */
    aperture_text control_point;
    /* Required. The key, valid UTF-8. */
    aperture_text key;
    /* The value, which may be empty. It may have APERTURE_MAX_CACHE_VALUE_BYTES with key and control point. */
    aperture_bytes value;
    /* Required. How long the value lives, in nanoseconds: more than 0, and at most APERTURE_MAX_CACHE_TTL_NS. */
    int64_t ttl_ns;
    /* How long the call may take, in nanoseconds. 0: APERTURE_DEFAULT_CACHE_TIMEOUT_NS. */
    int64_t timeout_ns;
    /* Which cache. */
    aperture_cache_scope scope;
    /* Must be 0. */
    uint32_t reserved;
} aperture_cache_entry;

/* An aperture_cache_entry with its struct_size set and everything else zero. */
#define APERTURE_CACHE_ENTRY_INIT \
    {sizeof(aperture_cache_entry), {NULL, 0}, {NULL, 0}, {NULL, 0}, 0, 0, 0, 0}

/*
 * An entry of the cache.
 */
typedef struct aperture_cache_key {
    /* sizeof this struct, as the caller was compiled. */
    size_t struct_size;
    /* Required. The control point whose result cache is meant; for the global cache the agent counts by it. */
    aperture_text control_point;
    /* Required. The key, valid UTF-8. */
    aperture_text key;
    /* How long the call may take, in nanoseconds. 0: APERTURE_DEFAULT_CACHE_TIMEOUT_NS. */
    int64_t timeout_ns;
    /* Which cache. */
    aperture_cache_scope scope;
    /* Must be 0. */
    uint32_t reserved;
} aperture_cache_key;

/* An aperture_cache_key with its struct_size set and everything else zero. */
#define APERTURE_CACHE_KEY_INIT \
    {sizeof(aperture_cache_key), {NULL, 0}, {NULL, 0}, 0, 0, 0}

/* The initializer of an aperture_text from a string literal. */
#define APERTURE_TEXT(literal) {(literal), sizeof(literal) - 1}

/*
 * Returns the aperture_text of a NUL-terminated string, which must live as long as the text is used. NULL is the empty
 * text.
 */
static inline aperture_text aperture_text_of(const char *string) {
    aperture_text text;
    text.data = string;
    text.length = string != NULL ? strlen(string) : 0;
    return text;
}

/* ---- The library ---- */

/*
 * Returns the version of the library that is loaded, such as "0.1.0".
 *
 * Ownership: The text is the library's, never freed.
 * Threads: Any thread.
 * NULL: Takes no pointer.
 * Errors: None.
 * Since: 0.1
 */
APERTURE_API const char *aperture_version(void);

/*
 * Returns the version of the ABI that the loaded library has. A binding compares it with APERTURE_ABI_VERSION, which
 * it was made with, and refuses to go on when they differ.
 *
 * Ownership: Nothing.
 * Threads: Any thread.
 * NULL: Takes no pointer.
 * Errors: None.
 * Since: 0.1
 */
APERTURE_API uint32_t aperture_abi_version(void);

/*
 * Returns the name of a code, such as "APERTURE_ERROR_TIMEOUT", or "APERTURE_ERROR_UNKNOWN" for a number that is
 * none.
 *
 * @param code The code.
 * Ownership: The text is the library's, never freed.
 * Threads: Any thread.
 * NULL: Takes no pointer.
 * Errors: None.
 * Since: 0.1
 */
APERTURE_API const char *aperture_error_name(aperture_code code);

/*
 * Returns a sentence that describes a code. Codes can be enumerated from 0 downwards until aperture_error_name says
 * that there is none.
 *
 * @param code The code.
 * Ownership: The text is the library's, never freed.
 * Threads: Any thread.
 * NULL: Takes no pointer.
 * Errors: None.
 * Since: 0.1
 */
APERTURE_API const char *aperture_error_description(aperture_code code);

/*
 * Returns how many handles of all kinds are open in this process. A test suite that ends with 0 has leaked none.
 *
 * Ownership: Nothing.
 * Threads: Any thread.
 * NULL: Takes no pointer.
 * Errors: None.
 * Since: 0.1
 */
APERTURE_API uint64_t aperture_live_handles(void);

/*
 * Sets what holds for the whole process: its log, its threads, its signal handlers. It may be called before the first
 * client and at any time later; every call sets all options. A child that is forked later keeps them.
 *
 * @param options What to set.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Options are read during the call only. The log's descriptor stays the caller's; the library keeps a
 *            duplicate.
 * Threads: Any thread. Does not start the Go runtime. Never blocks on the network.
 * NULL: options must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT (nothing is changed), APERTURE_ERROR_RESOURCE_EXHAUSTED (no
 *                       descriptor is left; nothing is changed), APERTURE_ERROR_INTERNAL.
 * Since: 0.2
 */
APERTURE_API aperture_code aperture_configure(const aperture_process_options *options, aperture_error *error);

/*
 * Adds SA_ONSTACK to every signal handler of the process that lacks it, at once. The library does so by itself when
 * it is called, at most every 10 ms: a host that installs a handler without the flag while its threads use the
 * library calls this afterwards, and has no such gap. It does nothing when leave_signal_handlers is set.
 *
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing.
 * Threads: Any thread. Never blocks.
 * NULL: Takes no pointer but error.
 * Returns: APERTURE_OK; None but APERTURE_ERROR_INVALID_ARGUMENT for an error struct that is too small.
 * Since: 0.2
 */
APERTURE_API aperture_code aperture_protect_signal_handlers(aperture_error *error);

/*
 * Says that the calling thread may end without a chance to close its clients, as when its host ends it from outside
 * (worker.terminate() in Node). It holds for every client that the thread makes from now on. When the thread ends,
 * the library does what is left, and the thread does not wait for it: the handles of those clients, of their flows
 * and of their calls are released, flows that were not ended are ended with the status Error, descriptors that
 * aperture_client_completion_fd gave to the thread and that were not closed are closed, and so is each client, within
 * APERTURE_DEFAULT_CLOSE_TIMEOUT_NS. Until then nothing changes; the clients can be used by other threads and closed
 * as ever.
 *
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: The thread itself, once. Starts the Go runtime, as the first client does. A thread that ends with its
 *          process, as main threads do, releases nothing.
 * NULL: Takes no pointer but error.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT for an error struct that is too small,
 *                       APERTURE_ERROR_RESOURCE_EXHAUSTED (the process has no thread-specific value left),
 *                       APERTURE_ERROR_FORKED (as aperture_new_client), APERTURE_ERROR_INTERNAL.
 * Since: 0.2
 */
APERTURE_API aperture_code aperture_close_clients_with_thread(aperture_error *error);

/* ---- Clients ---- */

/*
 * Fills options from the environment of the process: address from APERTURE_AGENT_ADDRESS, api_key from
 * APERTURE_API_KEY, insecure from APERTURE_AGENT_INSECURE and skip_verify from APERTURE_AGENT_SKIP_VERIFY (true,
 * false, 1 or 0). A variable that is unset or empty leaves its option as it is. The library reads the environment
 * nowhere else.
 *
 * @param options Receives what the environment says. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The texts are the environment's. They are valid until the process changes it.
 * Threads: Any thread, while no other changes the environment. Does not start the Go runtime.
 * NULL: options must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT (a variable has another value; the message names it, and
 *                       nothing is changed).
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_client_options_from_environment(aperture_client_options *options, aperture_error *error);

/*
 * Makes a client. It starts to connect in the background and returns without waiting for the agent; an agent that is
 * down is no error here. Policy files of a local address are read before it returns. The first client of a process
 * starts the Go runtime.
 *
 * @param options Which client to make.
 * @param client Receives the client, or NULL when the call fails.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The caller owns the client and releases it with aperture_client_close. Options are read during the call
 *            only.
 * Threads: Any thread. Does not block on the network.
 * NULL: options and client must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_POLICY, APERTURE_ERROR_RESOURCE_EXHAUSTED,
 *                       APERTURE_ERROR_FORKED (this process was forked from one that uses the library, and no fresh
 *                       copy of it could be loaded), APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_new_client(const aperture_client_options *options, aperture_client *client, aperture_error *error);

/*
 * Waits until the agent can be asked. A service that calls it once at its start does not begin with flows that fail
 * open because the connection is not made yet.
 *
 * @param client The client.
 * @param timeout_ns How long to wait at most, in nanoseconds; 0 looks once.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL client is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT (negative timeout), APERTURE_ERROR_INVALID_HANDLE,
 *                       APERTURE_ERROR_CLOSED, APERTURE_ERROR_TIMEOUT (the message says what the connection last
 *                       met), APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_wait_ready(aperture_client client, int64_t timeout_ns, aperture_error *error);

/*
 * The asynchronous form of aperture_client_wait_ready.
 *
 * @param client The client.
 * @param timeout_ns How long to wait at most, in nanoseconds; 0 looks once.
 * @param tag Returned with the completion.
 * @param call Receives the call when it is pending.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The call is released when its completion is handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. call must not be NULL.
 * Returns: APERTURE_OK when the client is ready already, APERTURE_PENDING; APERTURE_ERROR_INVALID_ARGUMENT,
 *          APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED, APERTURE_ERROR_RESOURCE_EXHAUSTED (too many calls
 *          are pending), APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_wait_ready_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error);

/*
 * Says how the connection to the agent is at this moment.
 *
 * @param client The client.
 * @param state Receives the state.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. state must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_client_state(aperture_client client, aperture_connection_state *state, aperture_error *error);

/*
 * Reads the counters of a client.
 *
 * @param client The client.
 * @param stats Receives the counters. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. stats must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_stats(aperture_client client, aperture_stats *stats, aperture_error *error);

/*
 * Reads the policy files of a client with a local: address again, while flows go on. Policies that are the same keep
 * what they know: how full their buckets are, what is in flight, and who waits. Of one that has changed all begins
 * anew, except that flows which wait are still decided by it as it was. When something is wrong with the files, the
 * error says what and where, and nothing changes.
 *
 * @param client The client. One of an agent has no policies, and is refused.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Reads files, which takes some milliseconds for many policies.
 * NULL: A NULL client is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED,
 *                       APERTURE_ERROR_POLICY, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.4
 */
APERTURE_API aperture_code aperture_client_reload(aperture_client client, aperture_error *error);

/*
 * Writes what the local engine has counted as JSON: for each component of the policies its decisions, how full its
 * buckets are, what is in flight and how flows have waited; and what its caches hold. The fields are listed in
 * docs/local-engine.md; later versions may add some.
 *
 * @param client The client. One of an agent counts nothing itself, and is refused.
 * @param buffer Receives the JSON, not NUL-terminated. May be NULL when capacity is 0.
 * @param capacity The size of the buffer in bytes.
 * @param length Receives the length of the JSON, also when the buffer is too small. The JSON may be longer when it is
 *               asked for again.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. length must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED,
 *                       APERTURE_ERROR_BUFFER_TOO_SMALL, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.4
 */
APERTURE_API aperture_code aperture_client_snapshot(aperture_client client, char *buffer, size_t capacity, size_t *length, aperture_error *error);

/*
 * Closes a client: calls that wait end as unreachable, save ends of flows, which may finish; spans that wait are
 * sent; the connection is closed. Its flows can still be read and must still be closed. Completions that were not
 * polled are dropped, and their flows ended.
 *
 * @param client The client.
 * @param timeout_ns How long it may take, in nanoseconds; 0: APERTURE_DEFAULT_CLOSE_TIMEOUT_NS.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The handle is released, also when APERTURE_ERROR_TIMEOUT is returned.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL client is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT (negative timeout, the client stays open),
 *                       APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED (another close is under way),
 *                       APERTURE_ERROR_TIMEOUT (closed, but the message says how many spans were not sent),
 *                       APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_close(aperture_client client, int64_t timeout_ns, aperture_error *error);

/*
 * The asynchronous form of aperture_client_close. Calls that are pending are completed first; the completion of the
 * close is the last one of the client, and handing it out releases the client.
 *
 * @param client The client.
 * @param timeout_ns How long it may take, in nanoseconds; 0: APERTURE_DEFAULT_CLOSE_TIMEOUT_NS.
 * @param tag Returned with the completion.
 * @param call Receives the call.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The client is released when the completion is handed out; the call too.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. call must not be NULL.
 * Returns: APERTURE_PENDING; APERTURE_ERROR_INVALID_ARGUMENT (the client stays open), APERTURE_ERROR_INVALID_HANDLE,
 *          APERTURE_ERROR_CLOSED, APERTURE_ERROR_RESOURCE_EXHAUSTED (no handle is left; the client stays open),
 *          APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_close_async(aperture_client client, int64_t timeout_ns, uint64_t tag, aperture_call *call, aperture_error *error);

/* ---- Flows ---- */

/*
 * Asks whether a piece of work may run, and waits for the decision. An agent that is down, slow or answers with an
 * error is not an error of this call: the flow is then unreachable, and runs unless it is in ramp mode.
 *
 * @param client The client.
 * @param params Which flow to start.
 * @param flow Receives the flow, or NULL when the call fails.
 * @param decision Receives the decision, so that aperture_flow_decision need not be called; may be NULL. Set its
 *                 struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The caller owns the flow, ends it with aperture_flow_end and releases it with aperture_flow_close.
 *            Params are read during the call only.
 * Threads: Any thread. Blocks for up to the check timeout.
 * NULL: A NULL client is an invalid handle. params and flow must not be NULL; decision may be.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED,
 *                       APERTURE_ERROR_RESOURCE_EXHAUSTED, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_start_flow(aperture_client client, const aperture_flow_params *params, aperture_flow *flow, aperture_decision *decision, aperture_error *error);

/*
 * The asynchronous form of aperture_start_flow. When the decision can be had at once, as from a local engine whose
 * schedulers let nothing wait, it returns APERTURE_OK and the flow, and no completion follows; else APERTURE_PENDING
 * and the call.
 *
 * @param client The client.
 * @param params Which flow to start.
 * @param tag Returned with the completion.
 * @param flow Receives the flow when it is decided at once, else NULL.
 * @param decision Receives the decision when it is had at once; may be NULL. Set its struct_size first.
 * @param call Receives the call when it is pending, else NULL.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: As aperture_start_flow; a flow that comes with a completion is the caller's too. The call is released
 *            when its completion is handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. params, flow and call must not be NULL; decision may be.
 * Returns: APERTURE_OK, APERTURE_PENDING; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE,
 *          APERTURE_ERROR_CLOSED, APERTURE_ERROR_RESOURCE_EXHAUSTED, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 *          The completion's code is APERTURE_OK, APERTURE_ERROR_CANCELLED or APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_start_flow_async(aperture_client client, const aperture_flow_params *params, uint64_t tag, aperture_flow *flow, aperture_decision *decision, aperture_call *call, aperture_error *error);

/*
 * Says whether the work of a flow should run.
 *
 * @param flow The flow.
 * @param should_run Receives 1 (do the work) or 0 (refuse it; also when the call fails).
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. should_run must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_should_run(aperture_flow flow, int32_t *should_run, aperture_error *error);

/*
 * Reads the details of a decision.
 *
 * @param flow The flow.
 * @param decision Receives the details. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. decision must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_decision(aperture_flow flow, aperture_decision *decision, aperture_error *error);

/*
 * Says why a flow is unreachable. The failure's code becomes APERTURE_ERROR_UNREACHABLE, or APERTURE_OK with an empty
 * message for a flow that was decided.
 *
 * @param flow The flow.
 * @param failure Receives the reason. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. failure must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_error(aperture_flow flow, aperture_error *failure, aperture_error *error);

/*
 * Writes the agent's whole answer about a flow as JSON with the protocol's field names
 * ({"decision_type":1,"limiter_decisions":[{"policy_name":"checkout","rate_limiter_info":{...},...}],...}): the JSON
 * form of Protocol Buffers, with enumerations as numbers, without fields that are unset. A flow about which nothing
 * was decided has none (length 0).
 *
 * @param flow The flow.
 * @param buffer Receives the JSON, not NUL-terminated. May be NULL when capacity is 0.
 * @param capacity The size of the buffer in bytes.
 * @param length Receives the length of the JSON, also when the buffer is too small.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. length must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE,
 *                       APERTURE_ERROR_BUFFER_TOO_SMALL, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_flow_check_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error);

/*
 * Reads what the cache had under a key that the flow was started with. A hit, a miss and the absence of an answer are
 * three different things.
 *
 * @param flow The flow.
 * @param scope Which cache.
 * @param key The key in the global cache; for the result cache the flow has one only, and NULL will do.
 * @param status Receives whether the cache had an entry.
 * @param buffer Receives the value. May be NULL when capacity is 0.
 * @param capacity The size of the buffer in bytes.
 * @param length Receives the length of the value, also when the buffer is too small; 0 for a miss.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. key must not be NULL for the global cache. status and length must not be
 *       NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_NO_ANSWER, APERTURE_ERROR_AGENT, APERTURE_ERROR_UNREACHABLE (nothing was
 *                       decided about the flow), APERTURE_ERROR_BUFFER_TOO_SMALL (status is set),
 *                       APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_flow_cache_value(aperture_flow flow, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error);

/*
 * Gives the flow's span an attribute, such as the number of tokens that a request used. The last value of a key
 * counts. A flow has at most 64 attributes.
 *
 * @param flow The flow.
 * @param attribute The attribute. It is copied.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. attribute must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_ALREADY_ENDED,
 *                       APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_flow_set_attribute(aperture_flow flow, const aperture_attribute *attribute, aperture_error *error);

/*
 * Says how the work of a flow went. The last status before the end counts.
 *
 * @param flow The flow.
 * @param status APERTURE_FLOW_STATUS_OK or APERTURE_FLOW_STATUS_ERROR.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_ALREADY_ENDED,
 *                       APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_set_status(aperture_flow flow, aperture_flow_status status, aperture_error *error);

/*
 * Ends a flow: gives back the in-flight tokens that it holds, and queues its span. A flow is ended once, whether it
 * ran or not; the handle can be read until aperture_flow_close.
 *
 * @param flow The flow.
 * @param result Receives what was given back; may be NULL. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Blocks only for a flow that holds in-flight tokens, for up to the client's flow-end timeout.
 * NULL: A NULL flow is an invalid handle. result may be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_ALREADY_ENDED,
 *                       APERTURE_ERROR_UNREACHABLE (the flow is ended; its tokens come back when the policy lets them
 *                       expire), APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_end(aperture_flow flow, aperture_end_result *result, aperture_error *error);

/*
 * The asynchronous form of aperture_flow_end. A flow that holds no in-flight tokens ends at once: APERTURE_OK, and no
 * completion follows.
 *
 * @param flow The flow.
 * @param tag Returned with the completion.
 * @param result Receives the result when the flow ended at once; may be NULL. Set its struct_size first.
 * @param call Receives the call when it is pending, else NULL.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The call is released when its completion is handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. call must not be NULL; result may be.
 * Returns: APERTURE_OK, APERTURE_PENDING; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE,
 *          APERTURE_ERROR_ALREADY_ENDED, APERTURE_ERROR_UNREACHABLE, APERTURE_ERROR_RESOURCE_EXHAUSTED (no handle is
 *          left; the flow is ended, but no completion follows), APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_end_async(aperture_flow flow, uint64_t tag, aperture_end_result *result, aperture_call *call, aperture_error *error);

/*
 * Reads how a flow ended, as aperture_flow_end would have returned it. For use after an asynchronous end.
 *
 * @param flow The flow.
 * @param result Receives what was given back; may be NULL. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. result may be NULL.
 * Returns: APERTURE_PENDING when the flow has not ended; APERTURE_ERROR_INVALID_ARGUMENT,
 *          APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_UNREACHABLE, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_end_result(aperture_flow flow, aperture_end_result *result, aperture_error *error);

/*
 * Writes the agent's answer to the end of a flow as JSON with the protocol's field names
 * ({"token_return_statuses":[{"inflight_request_ref":{...},"returned":true,"error":""}]}), or nothing (length 0) when
 * no in-flight tokens were given back or the agent did not answer.
 *
 * @param flow The flow.
 * @param buffer Receives the JSON, not NUL-terminated. May be NULL when capacity is 0.
 * @param capacity The size of the buffer in bytes.
 * @param length Receives the length of the JSON, also when the buffer is too small.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle. length must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE,
 *                       APERTURE_ERROR_BUFFER_TOO_SMALL, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_end_response(aperture_flow flow, char *buffer, size_t capacity, size_t *length, aperture_error *error);

/*
 * Releases a flow. One that nobody has ended is ended first, with the status Error, and counted as never ended: its
 * in-flight tokens go back and its span is sent, without keeping the caller waiting.
 *
 * @param flow The flow.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The handle is released.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL flow is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_flow_close(aperture_flow flow, aperture_error *error);

/* ---- Cache ---- */

/*
 * Looks up entries of the cache, without a flow.
 *
 * @param client The client.
 * @param keys Which entries.
 * @param answer Receives what was found, or NULL when the call fails.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The caller owns the answer and releases it with aperture_cache_answer_close.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL client is an invalid handle. keys and answer must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_RESOURCE_EXHAUSTED, APERTURE_ERROR_UNREACHABLE,
 *                       APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED,
 *                       APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_lookup(aperture_client client, const aperture_cache_keys *keys, aperture_cache_answer *answer, aperture_error *error);

/*
 * The asynchronous form of aperture_cache_lookup. A local address answers at once, with APERTURE_OK and no
 * completion.
 *
 * @param client The client.
 * @param keys Which entries.
 * @param tag Returned with the completion.
 * @param answer Receives what was found when that is known at once, else NULL.
 * @param call Receives the call when it is pending, else NULL.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: An answer that comes with a completion is the caller's too. The call is released when its completion is
 *            handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. keys, answer and call must not be NULL.
 * Returns: APERTURE_OK, APERTURE_PENDING; as aperture_cache_lookup, and APERTURE_ERROR_RESOURCE_EXHAUSTED (too many
 *          calls are pending).
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_lookup_async(aperture_client client, const aperture_cache_keys *keys, uint64_t tag, aperture_cache_answer *answer, aperture_call *call, aperture_error *error);

/*
 * Reads what a look-up found under a key. A hit, a miss and the absence of an answer are three different things.
 *
 * @param answer What the look-up found.
 * @param scope Which cache.
 * @param key The key in the global cache; for the result cache there is one only, and NULL will do.
 * @param status Receives whether the cache had an entry.
 * @param buffer Receives the value. May be NULL when capacity is 0.
 * @param capacity The size of the buffer in bytes.
 * @param length Receives the length of the value, also when the buffer is too small; 0 for a miss.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL answer is an invalid handle. key must not be NULL for the global cache. status and length must not be
 *       NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_NO_ANSWER, APERTURE_ERROR_AGENT, APERTURE_ERROR_BUFFER_TOO_SMALL (status is
 *                       set), APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_answer_value(aperture_cache_answer answer, aperture_cache_scope scope, const aperture_text *key, aperture_lookup_status *status, char *buffer, size_t capacity, size_t *length, aperture_error *error);

/*
 * Releases what a look-up found.
 *
 * @param answer What the look-up found.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The handle is released.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL answer is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED, APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_answer_close(aperture_cache_answer answer, aperture_error *error);

/*
 * Stores a value in the cache, in place of the one that is there.
 *
 * @param client The client.
 * @param entry What to store.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands; what is given is copied.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL client is an invalid handle. entry must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_AGENT, APERTURE_ERROR_UNREACHABLE, APERTURE_ERROR_INVALID_ARGUMENT,
 *                       APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_set(aperture_client client, const aperture_cache_entry *entry, aperture_error *error);

/*
 * The asynchronous form of aperture_cache_set. A local address answers at once, with APERTURE_OK and no completion.
 *
 * @param client The client.
 * @param entry What to store.
 * @param tag Returned with the completion.
 * @param call Receives the call when it is pending, else NULL.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: What is given is copied. The call is released when its completion is handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. entry, and call must not be NULL.
 * Returns: APERTURE_OK, APERTURE_PENDING; as aperture_cache_set, and APERTURE_ERROR_RESOURCE_EXHAUSTED (too many
 *          calls are pending).
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_set_async(aperture_client client, const aperture_cache_entry *entry, uint64_t tag, aperture_call *call, aperture_error *error);

/*
 * Removes an entry from the cache. One that is not there is no error.
 *
 * @param client The client.
 * @param key Which entry.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: Nothing changes hands; what is given is copied.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL client is an invalid handle. key must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_AGENT, APERTURE_ERROR_UNREACHABLE, APERTURE_ERROR_INVALID_ARGUMENT,
 *                       APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_CLOSED, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_delete(aperture_client client, const aperture_cache_key *key, aperture_error *error);

/*
 * The asynchronous form of aperture_cache_delete. A local address answers at once, with APERTURE_OK and no
 * completion.
 *
 * @param client The client.
 * @param key Which entry.
 * @param tag Returned with the completion.
 * @param call Receives the call when it is pending, else NULL.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: What is given is copied. The call is released when its completion is handed out.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. key, and call must not be NULL.
 * Returns: APERTURE_OK, APERTURE_PENDING; as aperture_cache_delete, and APERTURE_ERROR_RESOURCE_EXHAUSTED (too many
 *          calls are pending).
 * Since: 0.3
 */
APERTURE_API aperture_code aperture_cache_delete_async(aperture_client client, const aperture_cache_key *key, uint64_t tag, aperture_call *call, aperture_error *error);

/* ---- Asynchronous calls ---- */

/*
 * Returns a file descriptor that is readable while completions wait: a pipe, non-blocking and close-on-exec, for
 * poll, epoll, asyncio's add_reader or Node's net.Socket. Its bytes mean nothing. Reading them is allowed and not
 * needed: aperture_client_poll takes them away.
 *
 * @param client The client.
 * @param fd Receives the descriptor, or -1 when the call fails.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The descriptor is a duplicate that the caller owns and closes, before or after the client. It stays
 *            readable (end of file) once the client is closed.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL client is an invalid handle. fd must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE,
 *                       APERTURE_ERROR_RESOURCE_EXHAUSTED (no descriptor is left), APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_completion_fd(aperture_client client, int32_t *fd, aperture_error *error);

/*
 * Takes completions that wait, oldest first, as many as fit. Fewer than fit means that none is left.
 *
 * @param client The client.
 * @param completions Receives the completions. Set the struct_size of the first one: it is the distance between them.
 * @param capacity How many fit, at least 1.
 * @param count Receives how many there are.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The caller owns the flows of the completions of started flows. Their calls are released.
 * Threads: Any thread. Never blocks. Of two threads that poll at once each gets different completions.
 * NULL: A NULL client is an invalid handle. completions and count must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_ARGUMENT, APERTURE_ERROR_INVALID_HANDLE, APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_client_poll(aperture_client client, aperture_completion *completions, size_t capacity, size_t *count, aperture_error *error);

/*
 * Waits for one call and takes its completion, which aperture_client_poll then does not hand out. Waiting in slices
 * lets a host run its signal handlers in between.
 *
 * @param call The call.
 * @param timeout_ns How long to wait, in nanoseconds; 0 looks once.
 * @param completion Receives the completion. Set its struct_size first.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The caller owns the flow of the completion of a started flow. The call is released, except on
 *            APERTURE_ERROR_TIMEOUT.
 * Threads: Any thread. Blocks for up to the timeout.
 * NULL: A NULL call is an invalid handle. completion must not be NULL.
 * Returns: APERTURE_OK; APERTURE_ERROR_TIMEOUT (the call goes on), APERTURE_ERROR_INVALID_ARGUMENT,
 *                       APERTURE_ERROR_INVALID_HANDLE (its completion was handed out before), APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL. How the call itself ended is the code of the completion.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_call_wait(aperture_call call, int64_t timeout_ns, aperture_completion *completion, aperture_error *error);

/*
 * Ends a pending call early, at the agent too. Its completion still comes, with APERTURE_ERROR_CANCELLED (and, for a
 * start, no flow), or with its result if that was quicker. What a cancelled start was given is given back; a
 * cancelled end goes on giving back, but nobody waits for it. Whether a cancelled set or delete took place is not
 * known. A close cannot be cancelled.
 *
 * @param call The call.
 * @param error Receives the code and a message; may be NULL. Set its struct_size first.
 * Ownership: The call is released when its completion is handed out, as ever.
 * Threads: Any thread. Never blocks.
 * NULL: A NULL call is an invalid handle.
 * Returns: APERTURE_OK; APERTURE_ERROR_INVALID_HANDLE (its completion was handed out before), APERTURE_ERROR_FORKED,
 *                       APERTURE_ERROR_INTERNAL.
 * Since: 0.1
 */
APERTURE_API aperture_code aperture_call_cancel(aperture_call call, aperture_error *error);

#ifdef __cplusplus
}
#endif

#endif /* APERTURE_H */
