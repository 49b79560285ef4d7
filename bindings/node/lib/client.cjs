'use strict';

const abi = require('./abi.cjs');
const { Connection } = require('./connection.cjs');
const { Flow } = require('./flow.cjs');
const { camelCase } = require('./names.cjs');
const { nanoseconds, readClientOptions, readFlowParams } = require('./options.cjs');

// The names of the counters, and where they lie.
const counters = Object.keys(abi.structs.stats.fields)
  .filter((field) => field !== 'struct_size')
  .map((field) => [camelCase(field), field]);

// Clients that nobody closed. A failure has nobody to go to.
const abandoned = new FinalizationRegistry((connection) => connection.close(0).catch(() => {}));

class ApertureClient {
  #connection;

  constructor(options) {
    this.#connection = new Connection(readClientOptions(options));
    abandoned.register(this, this.#connection);
  }

  /** Asks whether a piece of work may run. An agent that is down, slow or failing is no error: see Flow.error. */
  async startFlow(controlPoint, params) {
    const { native, handle, calls } = this.#open();
    const tag = calls.nextTag();
    const started = native.startFlow(handle, controlPoint, readFlowParams(params), tag);
    if (started === abi.Code.OK) {
      return new Flow(this, calls, native.newHandle());
    }
    if (started !== abi.Code.PENDING) {
      throw native.lastError(started);
    }
    return new Promise((resolve, reject) => {
      calls.add(tag, (code, flow, defect) => {
        if (code !== abi.Code.OK) {
          reject(defect ?? native.errorOf(code));
          return;
        }
        const read = native.flowDecision(flow);
        if (read === abi.Code.OK) {
          resolve(new Flow(this, calls, flow));
        } else {
          reject(native.lastError(read));
          native.closeFlow(flow);
        }
      });
    });
  }

  /** Resolves when the agent can be asked; rejects with code TIMEOUT after that many milliseconds. */
  async waitReady(timeoutMs) {
    const { native, handle, calls } = this.#open();
    const tag = calls.nextTag();
    const started = native.waitReady(handle, nanoseconds('timeoutMs', timeoutMs), tag);
    if (started === abi.Code.OK) {
      return;
    }
    if (started !== abi.Code.PENDING) {
      throw native.lastError(started);
    }
    await new Promise((resolve, reject) => {
      calls.add(tag, (code, _flow, defect) => {
        if (code === abi.Code.OK) {
          resolve();
        } else if (code === abi.Code.ERROR_TIMEOUT) {
          // A completion has no message. Looking once more has, and it does not wait.
          const now = native.checkReady(handle);
          now === abi.Code.OK ? resolve() : reject(native.lastError(now));
        } else {
          reject(defect ?? native.errorOf(code));
        }
      });
    });
  }

  /** The counters of the client. */
  stats() {
    const { native, handle } = this.#open();
    const code = native.stats(handle);
    if (code !== abi.Code.OK) {
      throw native.lastError(code);
    }
    return Object.fromEntries(counters.map(([name, field]) => [name, native.counter(field)]));
  }

  /** Sends the spans that wait and closes the connection; calls that are pending end as unreachable. */
  close(timeoutMs = 0) {
    try {
      return this.#connection.close(nanoseconds('timeoutMs', timeoutMs));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Upstream's name of close. */
  shutdown(timeoutMs) {
    return this.close(timeoutMs);
  }

  #open() {
    if (this.#connection.isClosed) {
      throw this.#connection.native.errorOf(abi.Code.ERROR_CLOSED);
    }
    return this.#connection;
  }
}

module.exports = { ApertureClient };
