'use strict';

const { ApertureClient } = require('./lib/client.cjs');
const { ApertureError } = require('./lib/errors.cjs');
const { EndResponse, Flow } = require('./lib/flow.cjs');
const { FlowDecision, FlowStatus, RejectReason } = require('./lib/names.cjs');
const { configure } = require('./lib/process.cjs');

module.exports = {
  ApertureClient, ApertureError, EndResponse, Flow, FlowDecision, FlowStatus, RejectReason, configure,
};
