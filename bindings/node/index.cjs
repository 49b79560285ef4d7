'use strict';

const { CacheLookupResponse, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse } = require('./lib/cache.cjs');
const { CheckResponse } = require('./lib/check_response.cjs');
const { ApertureClient } = require('./lib/client.cjs');
const { ApertureError, FlowRejectedError } = require('./lib/errors.cjs');
const { EndResponse, Flow } = require('./lib/flow.cjs');
const {
  ConnectionState, FlowDecision, FlowStatus, LookupStatus, RejectReason, UnreachableReason,
} = require('./lib/names.cjs');
const { configure } = require('./lib/process.cjs');

module.exports = {
  ApertureClient, ApertureError, CacheLookupResponse, CheckResponse, ConnectionState, EndResponse, Flow, FlowDecision,
  FlowRejectedError, FlowStatus, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, LookupStatus, RejectReason,
  UnreachableReason,
  configure,
};
