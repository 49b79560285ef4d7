'use strict';

const abi = require('./abi.cjs');
const { Calls } = require('./calls.cjs');
const { openNative } = require('./native.cjs');

/** The native side of a client: what remains to be closed when nobody refers to the client any more. */
class Connection {
  native = openNative();
  handle;
  calls;
  #closed = null;

  constructor(options) {
    const code = this.native.newClient(options);
    if (code !== abi.Code.OK) {
      throw this.native.lastError(code);
    }
    this.handle = this.native.newHandle();
    this.calls = new Calls(this.native, this.handle);
  }

  /** Whether a close has begun. */
  get isClosed() {
    return this.#closed !== null;
  }

  /** Closes the client once; every call returns the promise of the first. */
  close(timeoutNs) {
    if (this.#closed !== null) {
      return this.#closed;
    }
    const { native, calls } = this;
    const tag = calls.nextTag();
    const started = native.closeClient(this.handle, timeoutNs, tag);
    if (started !== abi.Code.PENDING) {
      return Promise.reject(native.lastError(started)); // the client stays open
    }
    this.#closed = calls.wait(tag, undefined, (error) => {
      calls.close();
      if (error !== null) {
        throw error;
      }
    });
    // A program that closes its client without waiting must not die of spans that could not be sent.
    this.#closed.catch(() => {});
    return this.#closed;
  }
}

module.exports = { Connection };
