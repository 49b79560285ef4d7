'use strict';

// Reads what callers give: checks types and names, and turns milliseconds into nanoseconds. Values that are of the
// right type are judged by the library. The caller's objects are never changed.

const abi = require('./abi.cjs');
const { invalidArgument } = require('./errors.cjs');
const { compressions, logLevels } = require('./names.cjs');

// Options of a client that are texts.
const CLIENT_TEXTS = [
  'address', 'apiKey', 'caFile', 'caPem', 'serverName', 'clientCertificateFile', 'clientKeyFile', 'clientCertificatePem',
  'clientKeyPem', 'userAgent',
];

const CLIENT_OPTIONS = new Set([
  ...CLIENT_TEXTS, 'insecure', 'skipVerify', 'compression', 'metadata', 'keepaliveTimeMs', 'keepaliveTimeoutMs',
  'telemetry', 'telemetryQueue', 'telemetryBatch', 'telemetryIntervalMs', 'flowEndTimeoutMs', 'maxPendingCalls',
  'maxLabels', 'maxWaiting', 'cacheBytes',
]);

// Where ApertureClient.fromEnvironment finds options.
const TEXT_VARIABLES = { address: 'APERTURE_AGENT_ADDRESS', apiKey: 'APERTURE_API_KEY' };
const FLAG_VARIABLES = { insecure: 'APERTURE_AGENT_INSECURE', skipVerify: 'APERTURE_AGENT_SKIP_VERIFY' };

const FLOW_PARAMS = new Set([
  'labels', 'rampMode', 'checkTimeoutMs', 'resultCacheKey', 'globalCacheKeys', 'signal', 'grpcCallOptions',
  'tryConnect',
]);

const GUARD_PARAMS = new Set([...FLOW_PARAMS, 'onReject']);

const LOOKUP_KEYS = new Set(['resultCacheKey', 'globalCacheKeys']);

const ENTRY_KEYS = new Set(['resultCacheKey', 'globalCacheKey']);

const ENTRY = new Set(['value', 'ttl', 'ttlMs']);

const DURATION = new Set(['seconds', 'nanos']);

const CACHE_CALL_OPTIONS = new Set(['timeoutMs', 'deadline', 'signal']);

const WAIT_OPTIONS = new Set(['signal']);

const PROCESS_OPTIONS = new Set(['logFd', 'logLevel', 'maxProcs', 'leaveSignalHandlers']);

// Names that programs written for @fluxninja/aperture-js may use, and what to do instead.
const UNSUPPORTED = {
  channelCredentials:
    'objects of grpc-js cannot be used here; give insecure: true, or caFile and serverName, clientCertificateFile and ' +
    'clientKeyFile, or skipVerify: true',
  channelOptions:
    'options of grpc-js cannot be used here; see serverName, userAgent, compression, keepaliveTimeMs and metadata',
};

const MAX_INT32 = 2 ** 31 - 1;

function describe(value) {
  if (value === null) {
    return 'null';
  }
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}

// Unknown names are refused: a misspelt option that is silently ignored protects nothing.
function checkNames(what, object, known) {
  for (const name in object) {
    if (!known.has(name) && object[name] !== undefined) {
      const advice = UNSUPPORTED[name] ?? `there is no such name; there are ${[...known].join(', ')}`;
      throw invalidArgument(`${what}.${name}: ${advice}`);
    }
  }
}

function hasLoneSurrogate(text) {
  return /\p{Surrogate}/u.test(text);
}

function isObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function readText(name, value) {
  if (value === undefined) {
    return '';
  }
  if (typeof value !== 'string') {
    throw invalidArgument(`${name} must be a string, not ${describe(value)}`);
  }
  if (hasLoneSurrogate(value)) {
    throw invalidArgument(`${name} must be valid Unicode; it has a lone surrogate`);
  }
  return value;
}

function readFlag(name, value, ifMissing) {
  if (value === undefined) {
    return ifMissing;
  }
  if (typeof value !== 'boolean') {
    throw invalidArgument(`${name} must be true or false, not ${describe(value)}`);
  }
  return value;
}

// The library's word for the default is 0. Here that is undefined, and 0 is as wrong as a negative number.
function readPositive(name, value) {
  if (value === undefined) {
    return 0;
  }
  if (!Number.isInteger(value) || value < 1 || value > MAX_INT32) {
    const what = typeof value === 'number' ? value : describe(value);
    throw invalidArgument(`${name} must be a whole number from 1 to ${MAX_INT32}, not ${what}`);
  }
  return value;
}

// A word, which stands for a number of the library.
function readWord(name, value, words) {
  const number = words.get(value);
  if (number === undefined) {
    const what = typeof value === 'string' ? JSON.stringify(value) : describe(value);
    throw invalidArgument(`${name} must be one of ${[...words.keys()].join(', ')}, not ${what}`);
  }
  return number;
}

/** Turns a time in milliseconds into whole nanoseconds, rounded up, and at most the longest the library knows. */
function nanoseconds(name, milliseconds) {
  if (typeof milliseconds !== 'number' || !(milliseconds >= 0)) {
    const what = typeof milliseconds === 'number' ? milliseconds : describe(milliseconds);
    throw invalidArgument(`${name} must be a number of milliseconds, 0 or more, not ${what}`);
  }
  return Math.min(Math.ceil(milliseconds * 1e6), abi.MAX_CHECK_TIMEOUT_NS);
}

function readClientOptions(options) {
  if (!isObject(options)) {
    throw invalidArgument(`options must be an object such as {address: 'host:port'}, not ${describe(options)}`);
  }
  checkNames('options', options, CLIENT_OPTIONS);
  const time = (name) => nanoseconds(`options.${name}`, options[name] === undefined ? 0 : options[name]);
  const count = (name) => readCount(`options.${name}`, options[name]);
  const { compression = 'none' } = options;
  return {
    texts: Object.fromEntries(CLIENT_TEXTS.map((name) => [name, readText(`options.${name}`, options[name])])),
    insecure: readFlag('options.insecure', options.insecure, false),
    skipVerify: readFlag('options.skipVerify', options.skipVerify, false),
    compression: readWord('options.compression', compression, compressions),
    metadata: readMetadata(options.metadata),
    keepaliveTimeNs: time('keepaliveTimeMs'),
    keepaliveTimeoutNs: time('keepaliveTimeoutMs'),
    telemetry: readFlag('options.telemetry', options.telemetry, true),
    telemetryQueue: count('telemetryQueue'),
    telemetryBatch: count('telemetryBatch'),
    telemetryIntervalNs: time('telemetryIntervalMs'),
    flowEndTimeoutNs: time('flowEndTimeoutMs'),
    maxPendingCalls: count('maxPendingCalls'),
    maxLabels: count('maxLabels'),
    maxWaiting: count('maxWaiting'),
    cacheBytes: count('cacheBytes'),
  };
}

function readCount(name, value = 0) {
  if (!Number.isSafeInteger(value) || value < 0) {
    const what = typeof value === 'number' ? value : describe(value);
    throw invalidArgument(`${name} must be a whole number, 0 or more, not ${what}`);
  }
  return value;
}

// The keys and values in turn. Neither is shown: one may have been taken for the other.
function readMetadata(metadata = {}) {
  if (!isObject(metadata) || metadata instanceof Map) {
    throw invalidArgument(`options.metadata must be an object whose values are strings, not ${describe(metadata)}`);
  }
  return Object.entries(metadata).flatMap(([key, value], i) => {
    if (typeof value !== 'string') {
      throw invalidArgument(`options.metadata: entry ${i + 1} must be a string, not ${describe(value)}`);
    }
    return [key, value];
  });
}

/** Adds what the environment says to the options that were given, which win. */
function withEnvironment(options = {}, environment) {
  if (!isObject(options)) {
    throw invalidArgument(`options must be an object, not ${describe(options)}`);
  }
  const complete = { ...options };
  const addFrom = (variables, read) => {
    for (const [name, variable] of Object.entries(variables)) {
      const text = environment[variable];
      if (complete[name] === undefined && text !== undefined && text !== '') {
        complete[name] = read(variable, text);
      }
    }
  };
  addFrom(TEXT_VARIABLES, (_variable, text) => text);
  addFrom(FLAG_VARIABLES, readFlagVariable);
  if (complete.address === undefined) {
    throw invalidArgument(`${TEXT_VARIABLES.address} is not set, and there is no options.address`);
  }
  return complete;
}

function readFlagVariable(variable, text) {
  if (text === 'true' || text === '1') {
    return true;
  }
  if (text === 'false' || text === '0') {
    return false;
  }
  throw invalidArgument(`${variable} must be true, false, 1 or 0`);
}

function readProcessOptions(options) {
  if (!isObject(options)) {
    throw invalidArgument(`options must be an object such as {logFd: 2}, not ${describe(options)}`);
  }
  checkNames('options', options, PROCESS_OPTIONS);
  const { logFd, logLevel = 'warning', maxProcs, leaveSignalHandlers } = options;
  return {
    logFd: readPositive('options.logFd', logFd),
    logLevel: readWord('options.logLevel', logLevel, logLevels),
    maxProcs: readPositive('options.maxProcs', maxProcs),
    leaveSignalHandlers: readFlag('options.leaveSignalHandlers', leaveSignalHandlers, false),
  };
}

// The timeout of a call in nanoseconds; 0 means the library's default. A caller who writes 0 or an infinite deadline
// means no deadline, which upstream has and an agent must never see: the longest one takes its place.
function readTimeout(timeoutName, timeoutMs, deadlineName, givenDeadline) {
  const deadline = readDeadline(deadlineName, givenDeadline);
  if (timeoutMs === undefined && deadline === undefined) {
    return 0;
  }
  if (timeoutMs !== undefined && deadline !== undefined) {
    throw invalidArgument(`${timeoutName} and ${deadlineName}: give one of them`);
  }
  if (timeoutMs !== undefined) {
    return nanoseconds(timeoutName, timeoutMs) || abi.MAX_CHECK_TIMEOUT_NS;
  }
  const left = deadline - Date.now();
  if (!(left > 0)) {
    throw invalidArgument(
      `${deadlineName} must be a time in the future (milliseconds since 1970, or a Date); it is over before the call ` +
        `begins. For objects that are used again give ${timeoutName.split('.').at(-1)}`,
    );
  }
  return nanoseconds(deadlineName, left);
}

function readDeadline(name, deadline) {
  if (deadline === undefined || typeof deadline === 'number') {
    return deadline;
  }
  if (deadline instanceof Date) {
    return deadline.getTime();
  }
  throw invalidArgument(`${name} must be milliseconds since 1970 or a Date, not ${describe(deadline)}`);
}

const CALL_OPTIONS = new Set(['deadline']);

function readCheckTimeout({ checkTimeoutMs, grpcCallOptions }) {
  let deadline;
  if (grpcCallOptions !== undefined && grpcCallOptions !== null) {
    if (typeof grpcCallOptions !== 'object') {
      throw invalidArgument(`params.grpcCallOptions must be an object, not ${describe(grpcCallOptions)}`);
    }
    checkNames('params.grpcCallOptions', grpcCallOptions, CALL_OPTIONS);
    deadline = grpcCallOptions.deadline;
  }
  return readTimeout('params.checkTimeoutMs', checkTimeoutMs, 'params.grpcCallOptions.deadline', deadline);
}

const NO_PARAMS = Object.freeze({
  labels: undefined, checkTimeoutNs: 0, rampMode: false, cacheKeys: null, signal: undefined,
});

function readFlowParams(params, known = FLOW_PARAMS) {
  if (params === undefined || params === null) {
    return NO_PARAMS;
  }
  if (!isObject(params)) {
    throw invalidArgument(`params must be an object such as {labels: {…}}, not ${describe(params)}`);
  }
  checkNames('params', params, known);
  return {
    labels: readLabels(params.labels),
    checkTimeoutNs: readCheckTimeout(params),
    rampMode: readFlag('params.rampMode', params.rampMode, false),
    cacheKeys: readCacheKeys('params', params),
    signal: readSignal('params.signal', params.signal),
  };
}

/** Reads the parameters of a flow that is guarded, and what to do when it must not run. */
function readGuardParams(params) {
  const onReject = params?.onReject ?? undefined;
  if (onReject !== undefined && typeof onReject !== 'function') {
    throw invalidArgument(`params.onReject must be a function, not ${describe(onReject)}`);
  }
  return { flowParams: readFlowParams(params, GUARD_PARAMS), onReject };
}

const MAX_INT64 = 2n ** 63n - 1n;

/** Reads the value of an attribute: a string, an integer of 64 bits as a BigInt, or another finite number. */
function readAttributeValue(value) {
  switch (typeof value) {
    case 'string':
      return value;
    case 'bigint':
      if (value < -MAX_INT64 - 1n || value > MAX_INT64) {
        throw invalidArgument('value must be an integer of 64 bits, from -9223372036854775808 to 9223372036854775807');
      }
      return value;
    case 'number':
      if (!Number.isFinite(value)) {
        throw invalidArgument(`value must be finite, not ${value}`);
      }
      return Number.isSafeInteger(value) ? BigInt(value) : value;
    default:
      throw invalidArgument(`value must be a string, a number or a bigint, not ${describe(value)}`);
  }
}

// Any object that works as an AbortSignal will do: there are others than Node's.
function readSignal(name, signal) {
  if (signal === undefined || signal === null) {
    return undefined;
  }
  const isSignal = typeof signal.aborted === 'boolean' && typeof signal.addEventListener === 'function';
  if (!isSignal) {
    throw invalidArgument(`${name} must be an AbortSignal, not ${describe(signal)}`);
  }
  return signal;
}

// The keys to look up, or null when there are none.
function readCacheKeys(what, { resultCacheKey, globalCacheKeys }) {
  if (resultCacheKey === undefined && globalCacheKeys === undefined) {
    return null;
  }
  const keys = {
    resultCacheKey: readText(`${what}.resultCacheKey`, resultCacheKey),
    globalCacheKeys: readTexts(`${what}.globalCacheKeys`, globalCacheKeys),
  };
  return keys.resultCacheKey === '' && keys.globalCacheKeys.length === 0 ? null : keys;
}

function readTexts(name, values = []) {
  if (!Array.isArray(values)) {
    throw invalidArgument(`${name} must be an array of strings, not ${describe(values)}`);
  }
  return Array.from(values, (value, i) => requireText(`${name}[${i}]`, value));
}

function requireText(name, value) {
  if (value === undefined) {
    throw invalidArgument(`${name} must be a string, not ${describe(value)}`);
  }
  return readText(name, value);
}

function readLabels(labels) {
  if (labels === undefined || labels === null) {
    return undefined;
  }
  if (typeof labels !== 'object' || Array.isArray(labels) || labels instanceof Map) {
    throw invalidArgument('params.labels must be an object whose values are strings');
  }
  return labels;
}

// ---- Caches ----

const NO_KEYS = Object.freeze({ resultCacheKey: '', globalCacheKeys: Object.freeze([]) });

function readLookupKeys(keys) {
  if (!isObject(keys)) {
    throw invalidArgument(`keys must be an object such as {resultCacheKey: '…'}, not ${describe(keys)}`);
  }
  checkNames('keys', keys, LOOKUP_KEYS);
  return readCacheKeys('keys', keys) ?? NO_KEYS;
}

/** Reads which entry is meant: one of the result cache, or one of the global cache. */
function readEntryKey(key) {
  if (!isObject(key)) {
    throw invalidArgument(
      `key must be an object such as {resultCacheKey: '…'} or {globalCacheKey: '…'}, not ${describe(key)}`,
    );
  }
  checkNames('key', key, ENTRY_KEYS);
  const { resultCacheKey, globalCacheKey } = key;
  if ((resultCacheKey === undefined) === (globalCacheKey === undefined)) {
    throw invalidArgument('key.resultCacheKey and key.globalCacheKey: give one of them');
  }
  return resultCacheKey === undefined
    ? { scope: abi.CacheScope.CACHE_GLOBAL, key: requireKey('key.globalCacheKey', globalCacheKey) }
    : { scope: abi.CacheScope.CACHE_RESULT, key: requireKey('key.resultCacheKey', resultCacheKey) };
}

function requireKey(name, value) {
  const key = requireText(name, value);
  if (key === '') {
    throw invalidArgument(`${name} must not be empty`);
  }
  return key;
}

function readEntry(entry) {
  if (!isObject(entry)) {
    throw invalidArgument(`entry must be an object such as {value: '…', ttl: {seconds: 60}}, not ${describe(entry)}`);
  }
  checkNames('entry', entry, ENTRY);
  return { value: readValue(entry.value), ttlNs: readTimeToLive(entry) };
}

function readValue(value) {
  let length;
  if (typeof value === 'string') {
    // A repaired value would be another one when it is read.
    readText('entry.value', value);
    length = value.length;
  } else if (value instanceof Uint8Array) {
    length = value.byteLength;
  } else {
    throw invalidArgument(`entry.value must be a Buffer, a Uint8Array or a string, not ${describe(value)}`);
  }
  // The library would say the same, but only after the value was copied.
  if (length > abi.MAX_CACHE_VALUE_BYTES) {
    throw invalidArgument(
      `entry.value may have ${abi.MAX_CACHE_VALUE_BYTES} bytes with its key and control point, and has ${length}`,
    );
  }
  return value;
}

const MAX_TTL_SECONDS = abi.MAX_CACHE_TTL_NS / 1e9;

// The time to live in nanoseconds, exactly, and at most the longest that an agent knows.
function readTimeToLive({ ttl, ttlMs }) {
  if ((ttl === undefined) === (ttlMs === undefined)) {
    throw invalidArgument('entry.ttl ({seconds, nanos}) and entry.ttlMs (milliseconds): give one of them');
  }
  if (ttlMs !== undefined) {
    if (typeof ttlMs !== 'number' || !(ttlMs > 0)) {
      const what = typeof ttlMs === 'number' ? ttlMs : describe(ttlMs);
      throw invalidArgument(`entry.ttlMs must be more than 0 milliseconds, at most 7 days, not ${what}`);
    }
    return Math.min(Math.ceil(ttlMs * 1e6), abi.MAX_CACHE_TTL_NS);
  }
  if (!isObject(ttl)) {
    throw invalidArgument(`entry.ttl must be an object such as {seconds: 60, nanos: 0}, not ${describe(ttl)}`);
  }
  checkNames('entry.ttl', ttl, DURATION);
  const seconds = readWhole('entry.ttl.seconds', ttl.seconds, Number.MAX_SAFE_INTEGER);
  const nanos = readWhole('entry.ttl.nanos', ttl.nanos, 999_999_999);
  if (seconds === 0 && nanos === 0) {
    throw invalidArgument('entry.ttl must be more than 0, at most 7 days');
  }
  return seconds >= MAX_TTL_SECONDS ? abi.MAX_CACHE_TTL_NS : seconds * 1e9 + nanos;
}

// Upstream's durations have numbers, or texts of digits where 64 bits may be needed.
function readWhole(name, value, limit) {
  if (value === undefined || value === null) {
    return 0;
  }
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value;
  if (!Number.isInteger(number) || number < 0 || number > limit) {
    const what = typeof value === 'number' ? value : describe(value);
    throw invalidArgument(`${name} must be a whole number from 0 to ${limit}, not ${what}`);
  }
  return number;
}

const NO_CALL_OPTIONS = Object.freeze({ timeoutNs: 0, signal: undefined });

function readCacheCallOptions(options) {
  if (options === undefined || options === null) {
    return NO_CALL_OPTIONS;
  }
  if (!isObject(options)) {
    throw invalidArgument(`options must be an object such as {timeoutMs: 100}, not ${describe(options)}`);
  }
  checkNames('options', options, CACHE_CALL_OPTIONS);
  return {
    timeoutNs: readTimeout('options.timeoutMs', options.timeoutMs, 'options.deadline', options.deadline),
    signal: readSignal('options.signal', options.signal),
  };
}

function readWaitOptions(options) {
  if (options === undefined || options === null) {
    return NO_CALL_OPTIONS;
  }
  if (!isObject(options)) {
    throw invalidArgument(`options must be an object such as {signal}, not ${describe(options)}`);
  }
  checkNames('options', options, WAIT_OPTIONS);
  return { signal: readSignal('options.signal', options.signal) };
}

module.exports = {
  describe, hasLoneSurrogate, nanoseconds, readAttributeValue, readCacheCallOptions, readClientOptions, readEntry,
  readEntryKey, readFlowParams, readGuardParams, readLookupKeys, readProcessOptions, readWaitOptions, requireKey,
  requireText, withEnvironment,
};
