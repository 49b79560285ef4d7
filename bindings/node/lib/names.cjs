'use strict';

// The names that users see, made from those of the ABI.

const abi = require('./abi.cjs');

/** How the work of a flow went. */
const FlowStatus = Object.freeze({ OK: 'OK', Error: 'Error' });

/** What was decided about a flow. */
const FlowDecision = Object.freeze({ Accepted: 'Accepted', Rejected: 'Rejected', Unreachable: 'Unreachable' });

/** What rejected a flow. */
const RejectReason = Object.freeze({
  None: 'NONE',
  RateLimited: 'RATE_LIMITED',
  NoTokens: 'NO_TOKENS',
  NotSampled: 'NOT_SAMPLED',
  NoMatchingRamp: 'NO_MATCHING_RAMP',
});

/** Why nothing was decided about a flow. */
const UnreachableReason = Object.freeze({
  None: 'NONE',
  Timeout: 'TIMEOUT',
  Unavailable: 'UNAVAILABLE',
  AgentError: 'AGENT_ERROR',
  Misconfigured: 'MISCONFIGURED',
  Cancelled: 'CANCELLED',
  Closed: 'CLOSED',
  Overloaded: 'OVERLOADED',
});

/** Whether a cache had an entry. */
const LookupStatus = Object.freeze({ Hit: 'HIT', Miss: 'MISS' });

const statusCodes = new Map([
  [FlowStatus.OK, abi.FlowStatus.FLOW_STATUS_OK],
  [FlowStatus.Error, abi.FlowStatus.FLOW_STATUS_ERROR],
]);

const decisionNames = new Map([
  [abi.DecisionType.ACCEPTED, FlowDecision.Accepted],
  [abi.DecisionType.REJECTED, FlowDecision.Rejected],
  [abi.DecisionType.UNREACHABLE, FlowDecision.Unreachable],
]);

const logLevels = new Map([
  ['debug', abi.LogLevel.LOG_LEVEL_DEBUG],
  ['info', abi.LogLevel.LOG_LEVEL_INFO],
  ['warning', abi.LogLevel.LOG_LEVEL_WARNING],
  ['error', abi.LogLevel.LOG_LEVEL_ERROR],
]);

const compressions = new Map([
  ['none', abi.Compression.COMPRESSION_NONE],
  ['gzip', abi.Compression.COMPRESSION_GZIP],
]);

function namesByCode(enumeration, prefix) {
  return new Map(Object.entries(enumeration).map(([name, code]) => [code, name.replace(prefix, '')]));
}

/** 'OK', 'INVALID_ARGUMENT', 'TIMEOUT', … */
const codeNames = namesByCode(abi.Code, /^ERROR_/);

const rejectReasonNames = namesByCode(abi.RejectReason, /^REJECT_REASON_/);

const unreachableReasonNames = namesByCode(abi.UnreachableReason, /^UNREACHABLE_REASON_/);

/** How a client's connection to its agent is. */
const ConnectionState = Object.freeze({
  Idle: 'IDLE', Connecting: 'CONNECTING', Ready: 'READY', Failing: 'FAILING', Closed: 'CLOSED',
});

const stateNames = namesByCode(abi.ConnectionState, /^CONNECTION_/);

/** Turns a name of the ABI or of the protocol into JavaScript's spelling: flows_accepted becomes flowsAccepted. */
function camelCase(name) {
  return name.replace(/_([a-z])/g, (_match, letter) => letter.toUpperCase());
}

/** The other way round: flowsAccepted becomes flows_accepted. */
function snakeCase(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

module.exports = {
  ConnectionState, FlowDecision, FlowStatus, LookupStatus, RejectReason, UnreachableReason, camelCase, codeNames,
  compressions, decisionNames, logLevels, rejectReasonNames, snakeCase, stateNames, statusCodes, unreachableReasonNames,
};
