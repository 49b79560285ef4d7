'use strict';

const abi = require('./abi.cjs');
const { Calls } = require('./calls.cjs');
const { EndedFlows } = require('./ended_flows.cjs');
const { ApertureError } = require('./errors.cjs');
const { camelCase } = require('./names.cjs');
const { openNative } = require('./native.cjs');

/** The native side of a client: what remains to be closed when nobody refers to the client any more. */
class Connection {
  native = openNative();
  handle;
  calls;
  endedFlows;
  #closed = null;

  constructor(options) {
    const code = this.native.newClient(options);
    if (code !== abi.Code.OK) {
      const { code: name, message } = this.native.lastError(code);
      // The library names its own fields: its options.ca_pem is the caller's options.caPem.
      throw new ApertureError(name, message.replace(/^options\.\w+/, camelCase));
    }
    this.handle = this.native.newHandle();
    this.calls = new Calls(this.native, this.handle);
    this.endedFlows = new EndedFlows(this.native);
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
    const { native, calls, endedFlows } = this;
    const tag = calls.nextTag();
    const started = native.closeClient(this.handle, timeoutNs, tag);
    if (started !== abi.Code.PENDING) {
      return Promise.reject(native.lastError(started)); // the client stays open
    }
    this.#closed = calls.wait(tag, undefined, (error) => {
      calls.close();
      endedFlows.close();
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
