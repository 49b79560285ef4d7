// The door for import. It hands on what index.cjs has, so that a process that uses both doors has one library, one set
// of classes and one state.

import libaperture from './index.cjs';

export const {
  ApertureClient, ApertureError, CacheLookupResponse, CheckResponse, ConnectionState, EndResponse, Flow, FlowDecision,
  FlowRejectedError, FlowStatus, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, LookupStatus, RejectReason,
  UnreachableReason,
  configure,
} = libaperture;
