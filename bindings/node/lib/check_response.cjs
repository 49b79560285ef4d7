'use strict';

// The agent's whole answer about a flow. The library writes it as the JSON of Protocol Buffers, with the protocol's
// names and without fields that are unset; here it becomes what a loader of protocol files with defaults would give:
// JavaScript's names, the default of each scalar, null for each message that is unset.

const { camelCase } = require('./names.cjs');

// How values are read. Each is given what the JSON has, or undefined.

const text = (value = '') => value;

const flag = (value = false) => value;

// Integers of 64 bits, and what JSON has no number for (NaN, Infinity), are texts.
const number = (value = 0) => Number(value);

const bytes = (value = '') => Buffer.from(value, 'base64');

const list = (read) => (values = []) => Object.freeze(values.map((value) => read(value)));

// Keys are data, such as those of labels: they stay as they are.
const map = (read) => (values = {}) =>
  Object.freeze(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, read(value)])));

function message(fields) {
  const named = Object.entries(fields).map(([name, read]) => [name, camelCase(name), read]);
  return (value) =>
    value === undefined
      ? null
      : Object.freeze(Object.fromEntries(named.map(([name, property, read]) => [property, read(value[name])])));
}

// "1.5s" or "-0.000000001s".
function duration(value) {
  if (value === undefined) {
    return null;
  }
  const [, sign, seconds, fraction = ''] = /^(-?)(\d+)(?:\.(\d+))?s$/.exec(value);
  const factor = sign === '-' ? -1 : 1;
  // Adding 0 makes 0 of -0.
  return Object.freeze({ seconds: factor * seconds + 0, nanos: factor * fraction.padEnd(9, '0') + 0 });
}

// "2024-01-31T12:00:00.5Z".
function timestamp(value) {
  if (value === undefined) {
    return null;
  }
  const [, upToSeconds, fraction = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(value);
  return Object.freeze({ seconds: Date.parse(`${upToSeconds}Z`) / 1000, nanos: Number(fraction.padEnd(9, '0')) });
}

// The messages of check.proto.

const tokensInfo = message({ remaining: number, current: number, consumed: number });

const keyLookupResponse = message({ value: bytes, lookup_status: number, operation_status: number, error: text });

const limiterDecision = message({
  policy_name: text,
  policy_hash: text,
  component_id: text,
  dropped: flag,
  reason: number,
  denied_response_status_code: number,
  wait_time: duration,
  rate_limiter_info: message({ label: text, tokens_info: tokensInfo }),
  load_scheduler_info: message({ workload_index: text, tokens_info: tokensInfo, priority: number }),
  sampler_info: message({ label: text }),
  quota_scheduler_info: message({ label: text, workload_index: text, tokens_info: tokensInfo, priority: number }),
  concurrency_limiter_info: message({ label: text, tokens_info: tokensInfo, request_id: text }),
  concurrency_scheduler_info: message({
    label: text, workload_index: text, tokens_info: tokensInfo, priority: number, request_id: text,
  }),
});

const checkResponse = message({
  start: timestamp,
  end: timestamp,
  services: list(text),
  control_point: text,
  flow_label_keys: list(text),
  telemetry_flow_labels: map(text),
  decision_type: number,
  reject_reason: number,
  classifier_infos: list(message({ policy_name: text, policy_hash: text, classifier_index: number, error: number })),
  flux_meter_infos: list(message({ flux_meter_name: text })),
  limiter_decisions: list(limiterDecision),
  wait_time: duration,
  denied_response_status_code: number,
  cache_lookup_response: message({
    result_cache_response: keyLookupResponse, global_cache_responses: map(keyLookupResponse),
  }),
  expect_end: flag,
});

/** Turns the JSON of the library into the object that callers see, which is frozen in all its depth but for Buffers. */
function parseCheckResponse(json) {
  return checkResponse(JSON.parse(json));
}

/** The numbers of the enumerations in a check response. */
const CheckResponse = Object.freeze({
  DecisionType: Object.freeze({ ACCEPTED: 0, REJECTED: 1 }),
  RejectReason: Object.freeze({ NONE: 0, RATE_LIMITED: 1, NO_TOKENS: 2, NOT_SAMPLED: 3, NO_MATCHING_RAMP: 4 }),
  LimiterReason: Object.freeze({ UNSPECIFIED: 0, KEY_NOT_FOUND: 1 }),
  ClassifierError: Object.freeze({
    NONE: 0, EVAL_FAILED: 1, EMPTY_RESULTSET: 2, AMBIGUOUS_RESULTSET: 3, MULTI_EXPRESSION: 4, EXPRESSION_NOT_MAP: 5,
  }),
  CacheLookupStatus: Object.freeze({ HIT: 0, MISS: 1 }),
  CacheOperationStatus: Object.freeze({ SUCCESS: 0, ERROR: 1 }),
});

module.exports = { CheckResponse, parseCheckResponse };
