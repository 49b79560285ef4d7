'use strict';

const abi = require('./abi.cjs');
const { CacheLookupResponse, KeyDeleteResponse, KeyUpsertResponse, isCallersError } = require('./cache.cjs');
const { Connection } = require('./connection.cjs');
const { FlowRejectedError, invalidArgument } = require('./errors.cjs');
const { Flow } = require('./flow.cjs');
const { FlowStatus, camelCase, stateNames } = require('./names.cjs');
const {
  describe, nanoseconds, readCacheCallOptions, readClientOptions, readEntry, readEntryKey, readFlowParams,
  readGuardParams, readLookupKeys, readWaitOptions, requireText, withEnvironment,
} = require('./options.cjs');

// The names of the counters, and where they lie.
const counters = Object.keys(abi.structs.stats.fields)
  .filter((field) => field !== 'struct_size')
  .map((field) => [camelCase(field), field]);

// Clients that nobody closed. Flows that nobody ended become garbage together with them: the close leaves the library the
// time to give back what those hold. A failure has nobody to go to.
const abandoned = new FinalizationRegistry((connection) => {
  setTimeout(() => connection.close(0).catch(() => {}), abi.DEFAULT_FLOW_END_TIMEOUT_NS / 1e6).unref();
});

// Throws the reason of a signal that is aborted already: nothing is asked then.
function refuseAborted(signal) {
  if (signal !== undefined && signal.aborted) {
    throw signal.reason;
  }
}

// Runs the work of a flow. When it fails the flow says so, unless the work has ended it.
async function runIn(flow, fn) {
  try {
    return await fn(flow);
  } catch (error) {
    try {
      flow.setStatus(FlowStatus.Error);
    } catch {
      // It was ended.
    }
    throw error;
  }
}

// The response to a cache call that failed, unless that is for the caller to repair.
function cacheFailure(Response, error) {
  if (isCallersError(error)) {
    throw error;
  }
  return new Response(error);
}

// The response to a call that changes the cache and returned this code.
function changed(native, calls, tag, signal, started, Response) {
  const respond = (error) => (error === null ? new Response(null) : cacheFailure(Response, error));
  if (started === abi.Code.PENDING) {
    return calls.wait(tag, signal, respond);
  }
  return respond(started === abi.Code.OK ? null : native.lastError(started));
}

class ApertureClient {
  #connection;

  constructor(options) {
    this.#connection = new Connection(readClientOptions(options));
    abandoned.register(this, this.#connection);
  }

  /** Makes a client of what the environment says, and of the options that are given, which win. */
  static fromEnvironment(options) {
    return new this(withEnvironment(options, process.env));
  }

  /** Asks whether a piece of work may run. An agent that is down, slow or failing is no error: see Flow.error. */
  async startFlow(controlPoint, params) {
    return this.#start(controlPoint, readFlowParams(params));
  }

  /**
   * Runs fn(flow) when the flow should run, and returns what it returns; the flow is ended in every case. Without onReject
   * a flow that must not run is an error.
   */
  async guard(controlPoint, params, fn) {
    if (typeof fn !== 'function') {
      throw invalidArgument(`fn must be a function, as in guard(controlPoint, params, fn), not ${describe(fn)}`);
    }
    const { flowParams, onReject } = readGuardParams(params);
    const flow = await this.#start(controlPoint, flowParams);
    try {
      if (flow.shouldRun()) {
        return await runIn(flow, fn);
      }
      if (onReject === undefined) {
        throw new FlowRejectedError(flow);
      }
      return await onReject(flow);
    } finally {
      await flow.end();
    }
  }

  // Returns the flow, or a promise of it.
  #start(controlPoint, read) {
    const connection = this.#open();
    const { native, calls } = connection;
    const tag = calls.nextTag();
    refuseAborted(read.signal);
    const started = native.startFlow(connection.handle, controlPoint, read, tag);
    const size = native.textsSize();
    const make = (handle) => new Flow(this, connection, handle, controlPoint, read.cacheKeys, size);
    if (started === abi.Code.OK) {
      return make(native.newHandle());
    }
    if (started !== abi.Code.PENDING) {
      throw native.lastError(started);
    }
    return calls.wait(tag, read.signal, (error, flow) => {
      if (error !== null) {
        throw error;
      }
      const code = native.flowDecision(flow);
      if (code === abi.Code.OK) {
        return make(flow);
      }
      const failure = native.lastError(code);
      native.closeFlow(flow);
      throw failure;
    });
  }

  /** Resolves when the agent can be asked; rejects with code TIMEOUT after that many milliseconds. */
  async waitReady(timeoutMs, options) {
    const { native, handle, calls } = this.#open();
    const timeoutNs = nanoseconds('timeoutMs', timeoutMs);
    const { signal } = readWaitOptions(options);
    refuseAborted(signal);
    const tag = calls.nextTag();
    const started = native.waitReady(handle, timeoutNs, tag);
    if (started === abi.Code.PENDING) {
      await calls.wait(tag, signal, (error) => {
        if (error !== null) {
          throw error;
        }
      });
    } else if (started !== abi.Code.OK) {
      throw native.lastError(started);
    }
  }

  /** Looks entries of the caches up, without a flow. */
  async cacheLookup(controlPoint, keys, options) {
    const { native, handle, calls } = this.#open();
    requireText('controlPoint', controlPoint);
    const wanted = readLookupKeys(keys);
    const { timeoutNs, signal } = readCacheCallOptions(options);
    refuseAborted(signal);
    const read = (answer) => {
      try {
        return CacheLookupResponse.read(wanted, (scope, key) => native.answerCacheValue(answer, scope, key));
      } finally {
        native.closeAnswer(answer);
      }
    };
    const tag = calls.nextTag();
    const started = native.lookUpCache(handle, controlPoint, wanted, timeoutNs, tag);
    if (started === abi.Code.OK) {
      return read(native.newHandle());
    }
    if (started !== abi.Code.PENDING) {
      return cacheFailure(CacheLookupResponse, native.lastError(started));
    }
    return calls.wait(tag, signal, (error, _flow, answer) =>
      error === null ? read(answer) : cacheFailure(CacheLookupResponse, error));
  }

  /** Stores a value, in place of the one that is there. */
  async cacheSet(controlPoint, key, entry, options) {
    const { native, handle, calls } = this.#open();
    requireText('controlPoint', controlPoint);
    const where = readEntryKey(key);
    const what = readEntry(entry);
    const { timeoutNs, signal } = readCacheCallOptions(options);
    refuseAborted(signal);
    const tag = calls.nextTag();
    const started = native.setCache(handle, controlPoint, where, what, timeoutNs, tag);
    return changed(native, calls, tag, signal, started, KeyUpsertResponse);
  }

  /** Removes an entry; that there is none is no error. */
  async cacheDelete(controlPoint, key, options) {
    const { native, handle, calls } = this.#open();
    requireText('controlPoint', controlPoint);
    const where = readEntryKey(key);
    const { timeoutNs, signal } = readCacheCallOptions(options);
    refuseAborted(signal);
    const tag = calls.nextTag();
    const started = native.deleteCache(handle, controlPoint, where, timeoutNs, tag);
    return changed(native, calls, tag, signal, started, KeyDeleteResponse);
  }

  /** How the connection to the agent is at this moment. */
  state() {
    return stateNames.get(this.getState());
  }

  /** Upstream's form: the numbers of grpc-js's connectivityState, which are those of the library. */
  getState() {
    if (this.#connection.isClosed) {
      return abi.ConnectionState.CONNECTION_CLOSED;
    }
    const { native, handle } = this.#connection;
    const code = native.state(handle);
    if (code !== abi.Code.OK) {
      throw native.lastError(code);
    }
    return native.connectionState();
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

  /** Reads the policy files of a client with a local: address again. It waits for the files: some milliseconds. */
  reload() {
    const { native, handle } = this.#open();
    native.reload(handle);
  }

  /** What the local engine has counted. */
  snapshot() {
    const { native, handle } = this.#open();
    return JSON.parse(native.snapshot(handle));
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

// For `await using`, where the runtime knows it.
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(ApertureClient.prototype, Symbol.asyncDispose, {
    value: function asyncDispose() {
      return this.close();
    },
    writable: true,
    configurable: true,
  });
}

module.exports = { ApertureClient };
