'use strict';

// Reads what callers give: checks types and names, and turns milliseconds into nanoseconds. Values that are of the
// right type are judged by the library. The caller's objects are never changed.

const abi = require('./abi.cjs');
const { invalidArgument } = require('./errors.cjs');
const { logLevels } = require('./names.cjs');

const CLIENT_OPTIONS = new Set([
  'address', 'apiKey', 'caFile', 'serverName', 'userAgent', 'insecure', 'telemetry', 'flowEndTimeoutMs',
  'maxPendingCalls',
]);

const FLOW_PARAMS = new Set(['labels', 'rampMode', 'checkTimeoutMs', 'grpcCallOptions', 'tryConnect']);

const PROCESS_OPTIONS = new Set(['logFd', 'logLevel', 'maxProcs', 'leaveSignalHandlers']);

// Names that programs written for @fluxninja/aperture-js may use, and what to do instead.
const UNSUPPORTED = {
  channelCredentials: 'objects of grpc-js cannot be used here; give insecure: true, or caFile and serverName',
  channelOptions: 'options of grpc-js cannot be used here; see caFile, serverName and userAgent',
  resultCacheKey: 'caches are not supported by this version',
  globalCacheKeys: 'caches are not supported by this version',
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

function readLogLevel(name, value) {
  const level = logLevels.get(value);
  if (level === undefined) {
    const what = typeof value === 'string' ? JSON.stringify(value) : describe(value);
    throw invalidArgument(`${name} must be one of ${[...logLevels.keys()].join(', ')}, not ${what}`);
  }
  return level;
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
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw invalidArgument(`options must be an object such as {address: 'host:port'}, not ${describe(options)}`);
  }
  checkNames('options', options, CLIENT_OPTIONS);
  const { maxPendingCalls = 0, flowEndTimeoutMs = 0 } = options;
  if (!Number.isSafeInteger(maxPendingCalls) || maxPendingCalls < 0) {
    throw invalidArgument('options.maxPendingCalls must be a whole number, 0 or more');
  }
  return {
    address: readText('options.address', options.address),
    apiKey: readText('options.apiKey', options.apiKey),
    caFile: readText('options.caFile', options.caFile),
    serverName: readText('options.serverName', options.serverName),
    userAgent: readText('options.userAgent', options.userAgent),
    flowEndTimeoutNs: nanoseconds('options.flowEndTimeoutMs', flowEndTimeoutMs),
    maxPendingCalls,
    insecure: readFlag('options.insecure', options.insecure, false),
    telemetry: readFlag('options.telemetry', options.telemetry, true),
  };
}

function readProcessOptions(options) {
  if (options === null || typeof options !== 'object' || Array.isArray(options)) {
    throw invalidArgument(`options must be an object such as {logFd: 2}, not ${describe(options)}`);
  }
  checkNames('options', options, PROCESS_OPTIONS);
  const { logFd, logLevel = 'warning', maxProcs, leaveSignalHandlers } = options;
  return {
    logFd: readPositive('options.logFd', logFd),
    logLevel: readLogLevel('options.logLevel', logLevel),
    maxProcs: readPositive('options.maxProcs', maxProcs),
    leaveSignalHandlers: readFlag('options.leaveSignalHandlers', leaveSignalHandlers, false),
  };
}

// The timeout of the check in nanoseconds; 0 means the library's default. A caller who writes 0 or an infinite
// deadline means no deadline, which upstream has and an agent must never see: the longest one takes its place.
function readCheckTimeout(params) {
  const { checkTimeoutMs, grpcCallOptions } = params;
  const deadline = readDeadline(grpcCallOptions);
  if (checkTimeoutMs === undefined && deadline === undefined) {
    return 0;
  }
  if (checkTimeoutMs !== undefined && deadline !== undefined) {
    throw invalidArgument('params.checkTimeoutMs and params.grpcCallOptions.deadline: give one of them');
  }
  if (checkTimeoutMs !== undefined) {
    return nanoseconds('params.checkTimeoutMs', checkTimeoutMs) || abi.MAX_CHECK_TIMEOUT_NS;
  }
  const left = deadline - Date.now();
  if (!(left > 0)) {
    throw invalidArgument(
      'params.grpcCallOptions.deadline must be a time in the future (milliseconds since 1970, or a Date); it is over ' +
        'before the check begins. For params that are used again give checkTimeoutMs',
    );
  }
  return nanoseconds('params.grpcCallOptions.deadline', left);
}

const CALL_OPTIONS = new Set(['deadline']);

function readDeadline(grpcCallOptions) {
  if (grpcCallOptions === undefined || grpcCallOptions === null) {
    return undefined;
  }
  if (typeof grpcCallOptions !== 'object') {
    throw invalidArgument(`params.grpcCallOptions must be an object, not ${describe(grpcCallOptions)}`);
  }
  checkNames('params.grpcCallOptions', grpcCallOptions, CALL_OPTIONS);
  const { deadline } = grpcCallOptions;
  if (deadline === undefined || typeof deadline === 'number') {
    return deadline;
  }
  if (deadline instanceof Date) {
    return deadline.getTime();
  }
  throw invalidArgument(
    `params.grpcCallOptions.deadline must be milliseconds since 1970 or a Date, not ${describe(deadline)}`,
  );
}

const NO_PARAMS = Object.freeze({ labels: undefined, checkTimeoutNs: 0, rampMode: false });

function readFlowParams(params) {
  if (params === undefined || params === null) {
    return NO_PARAMS;
  }
  if (typeof params !== 'object' || Array.isArray(params)) {
    throw invalidArgument(`params must be an object such as {labels: {…}}, not ${describe(params)}`);
  }
  checkNames('params', params, FLOW_PARAMS);
  return {
    labels: readLabels(params.labels),
    checkTimeoutNs: readCheckTimeout(params),
    rampMode: readFlag('params.rampMode', params.rampMode, false),
  };
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

module.exports = {
  describe, hasLoneSurrogate, nanoseconds, readClientOptions, readFlowParams, readProcessOptions,
};
