'use strict';

/** What went wrong with a call: a code to test and a message to read. */
class ApertureError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}
ApertureError.prototype.name = 'ApertureError';

/** The error of an argument that the binding itself refuses. */
function invalidArgument(message) {
  return new ApertureError('INVALID_ARGUMENT', message);
}

module.exports = { ApertureError, invalidArgument };
