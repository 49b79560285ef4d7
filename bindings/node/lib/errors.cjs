'use strict';

/** What went wrong with a call: a code to test and a message to read. */
class ApertureError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
ApertureError.prototype.name = 'ApertureError';

/** A flow that must not run, as client.guard throws it: what the caller is to be answered. */
class FlowRejectedError extends ApertureError {
  constructor(flow) {
    const reason = flow.rejectReason();
    const failure = flow.error();
    super(
      'REJECTED',
      failure === null ? `the flow was rejected: ${reason}` : 'nothing was decided about the flow, which is in ramp mode',
    );
    if (failure !== null) {
      this.cause = failure;
    }
    this.decision = flow.decision();
    this.rejectReason = reason;
    this.httpResponseCode = flow.httpResponseCode();
    this.retryAfter = flow.retryAfter();
  }
}
FlowRejectedError.prototype.name = 'FlowRejectedError';

/** The error of an argument that the binding itself refuses. */
function invalidArgument(message) {
  return new ApertureError('INVALID_ARGUMENT', message);
}

module.exports = { ApertureError, FlowRejectedError, invalidArgument };
