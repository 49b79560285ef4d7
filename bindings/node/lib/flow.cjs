'use strict';

const abi = require('./abi.cjs');
const { CacheLookupResponse, KeyDeleteResponse, KeyUpsertResponse } = require('./cache.cjs');
const { parseCheckResponse } = require('./check_response.cjs');
const { KEPT_FLOWS } = require('./ended_flows.cjs');
const { ApertureError, invalidArgument } = require('./errors.cjs');
const { camelCase, decisionNames, rejectReasonNames, statusCodes, unreachableReasonNames } = require('./names.cjs');
const { openNative } = require('./native.cjs');
const {
  describe, readAttributeValue, readCacheCallOptions, readEntry, requireKey, requireText,
} = require('./options.cjs');

const NS_PER_SECOND = 1e9;

// Flows that nobody ended: when the object is gone its handle is closed, and the library ends the flow with the status
// Error. The handles of those that were ended do not wait for the garbage collector: see EndedFlows.
const abandoned = new FinalizationRegistry((handle) => openNative().closeFlow(handle));

/** What ending a flow did. */
class EndResponse {
  #response;
  #error;

  constructor(response, error) {
    this.#response = response;
    this.#error = error;
  }

  /** The agent's answer, or null when no in-flight tokens had to be given back or the agent did not answer. */
  getResponse() {
    return this.#response;
  }

  /** What went wrong, or null. */
  getError() {
    return this.#error;
  }
}

const NOTHING_RETURNED = new EndResponse(null, null);

class Flow {
  // A flow keeps its client open, also when nobody else refers to the client any more.
  #client;
  #connection;
  #handle;
  #controlPoint;
  #cacheKeys;
  #size;
  #cached = null;
  #checkResponse = null;
  #decision;
  #shouldRun;
  #rejectReason;
  #unreachableReason;
  #httpStatus;
  #retryAfterNs;
  #failure = null;
  #hasEnded = false;

  // Made by ApertureClient.startFlow, when the decision lies in the memory of the calls. The size is that of the texts
  // that the flow was started with, in bytes.
  constructor(client, connection, handle, controlPoint, cacheKeys, size) {
    const native = openNative();
    this.#client = client;
    this.#connection = connection;
    this.#handle = handle;
    this.#controlPoint = controlPoint;
    this.#cacheKeys = cacheKeys;
    this.#size = size;
    this.#decision = native.decision();
    this.#shouldRun = native.shouldRun();
    this.#rejectReason = native.rejectReason();
    this.#unreachableReason = native.unreachableReason();
    this.#httpStatus = native.httpStatus();
    this.#retryAfterNs = native.retryAfterNs();
    abandoned.register(this, handle, this);
    if (this.#decision === abi.DecisionType.UNREACHABLE) {
      this.#failure = native.flowFailure(handle);
    }
  }

  /** Whether the work should run. */
  shouldRun() {
    return this.#shouldRun;
  }

  /** Accepted, rejected or unreachable. */
  decision() {
    return decisionNames.get(this.#decision);
  }

  /** What rejected the flow; RejectReason.None when it was not rejected. */
  rejectReason() {
    return rejectReasonNames.get(this.#rejectReason);
  }

  /** Why nothing was decided; UnreachableReason.None when there is a decision. */
  unreachableReason() {
    return unreachableReasonNames.get(this.#unreachableReason);
  }

  /** The HTTP status to answer with. */
  httpResponseCode() {
    return this.#httpStatus;
  }

  /** How long a rejected caller should wait, or null when the decision names no time. */
  retryAfter() {
    const ns = this.#retryAfterNs;
    if (ns === abi.NO_RETRY_AFTER) {
      return null;
    }
    const nanos = ns % NS_PER_SECOND;
    return { seconds: (ns - nanos) / NS_PER_SECOND, nanos };
  }

  /** Why nothing was decided, or null when there is a decision. */
  error() {
    return this.#failure;
  }

  /**
   * The agent's whole answer, or null when nothing was decided. It is read from the library at the first call: copying it
   * for every flow would cost more than the flow itself.
   */
  checkResponse() {
    if (this.#isAnswerUnread()) {
      this.#checkResponse = parseCheckResponse(this.#readAnswer());
    }
    return this.#checkResponse;
  }

  #isAnswerUnread() {
    return this.#checkResponse === null && this.#failure === null;
  }

  #readAnswer() {
    try {
      return openNative().flowCheckResponse(this.#handle);
    } catch (error) {
      throw error.code === 'INVALID_HANDLE' ? answerIsGone() : error;
    }
  }

  /** What the result cache had under the resultCacheKey that the flow was started with. */
  resultCache() {
    return this.#caches().resultCache();
  }

  /** What the global cache had under one of the globalCacheKeys that the flow was started with. */
  globalCache(key) {
    return this.#caches().globalCache(requireText('key', key));
  }

  /** Stores the result of the flow under its resultCacheKey. */
  async setResultCache(entry, options) {
    const resultCacheKey = this.#resultCacheKey();
    if (resultCacheKey === '') {
      readEntry(entry);
      readCacheCallOptions(options);
      return new KeyUpsertResponse(noResultCacheKey());
    }
    return this.#client.cacheSet(this.#controlPoint, { resultCacheKey }, entry, options);
  }

  /** Removes what is stored under the resultCacheKey of the flow. */
  async deleteResultCache(options) {
    const resultCacheKey = this.#resultCacheKey();
    if (resultCacheKey === '') {
      readCacheCallOptions(options);
      return new KeyDeleteResponse(noResultCacheKey());
    }
    return this.#client.cacheDelete(this.#controlPoint, { resultCacheKey }, options);
  }

  /** Stores a value in the global cache, under any key. */
  async setGlobalCache(key, entry, options) {
    const globalCacheKey = requireKey('key', key);
    return this.#client.cacheSet(this.#controlPoint, { globalCacheKey }, entry, options);
  }

  /** Removes an entry of the global cache, under any key. */
  async deleteGlobalCache(key, options) {
    const globalCacheKey = requireKey('key', key);
    return this.#client.cacheDelete(this.#controlPoint, { globalCacheKey }, options);
  }

  /** Says how the work went. The last status before the end counts. */
  setStatus(status) {
    const code = statusCodes.get(status);
    if (code === undefined) {
      const what = typeof status === 'string' ? JSON.stringify(status) : describe(status);
      throw invalidArgument(`status must be FlowStatus.OK or FlowStatus.Error, not ${what}`);
    }
    if (this.#hasEnded) {
      throw openNative().errorOf(abi.Code.ERROR_ALREADY_ENDED);
    }
    const native = openNative();
    const result = native.setFlowStatus(this.#handle, code);
    if (result !== abi.Code.OK) {
      throw native.lastError(result);
    }
  }

  /** Gives the flow's span an attribute, such as the number of tokens that a request used. */
  setAttribute(key, value) {
    requireText('key', key);
    const read = readAttributeValue(value);
    const native = openNative();
    if (this.#hasEnded) {
      throw native.errorOf(abi.Code.ERROR_ALREADY_ENDED);
    }
    const code = native.setFlowAttribute(this.#handle, key, read);
    if (code !== abi.Code.OK) {
      throw native.lastError(code);
    }
  }

  /** Ends the flow: gives back the in-flight tokens that it holds and sends its span. Never rejects. */
  async end() {
    const native = openNative();
    if (this.#hasEnded) {
      return new EndResponse(null, native.errorOf(abi.Code.ERROR_ALREADY_ENDED));
    }
    const { calls } = this.#connection;
    const tag = calls.nextTag();
    const code = native.endFlow(this.#handle, tag);
    this.#hasEnded = true;
    if (code !== abi.Code.PENDING) {
      return this.#finish(code);
    }
    return calls.wait(tag, undefined, (error) => {
      const result = native.flowEndResult(this.#handle);
      // Without a result the completion was lost, by a defect.
      return result === abi.Code.PENDING ? this.#close(new EndResponse(null, error)) : this.#finish(result);
    });
  }

  // Reads what the end gave back.
  #finish(code) {
    const native = openNative();
    if (code !== abi.Code.OK) {
      return this.#close(new EndResponse(null, native.lastError(code)));
    }
    if (!native.flowEndAnswered()) {
      return this.#close(NOTHING_RETURNED);
    }
    try {
      return this.#close(new EndResponse(JSON.parse(native.flowEndResponse(this.#handle), withoutUnderscores), null));
    } catch (error) {
      return this.#close(new EndResponse(null, error));
    }
  }

  // Lets the handle go: at once when nothing is left to be read with it, else when later flows have taken its place.
  #close(response) {
    if (this.#cacheKeys !== null) {
      this.#size += CacheLookupResponse.sizeOf(this.#caches()); // from now on they can be read without it
    }
    abandoned.unregister(this);
    if (this.#isAnswerUnread()) {
      this.#connection.endedFlows.keep(this.#handle, this.#size);
    } else {
      openNative().closeFlow(this.#handle);
    }
    return response;
  }

  #resultCacheKey() {
    return this.#cacheKeys === null ? '' : this.#cacheKeys.resultCacheKey;
  }

  // What was looked up with the decision; read at its first use, at the end of the flow at the latest.
  #caches() {
    if (this.#cacheKeys === null || this.#failure !== null) {
      return this.#failure === null ? NOTHING_LOOKED_UP : new CacheLookupResponse(this.#failure);
    }
    this.#cached ??= CacheLookupResponse.read(this.#cacheKeys, (scope, key) =>
      openNative().flowCacheValue(this.#handle, scope, key));
    return this.#cached;
  }
}

// For `await using`, where the runtime knows it.
if (Symbol.asyncDispose !== undefined) {
  Object.defineProperty(Flow.prototype, Symbol.asyncDispose, {
    value: async function asyncDispose() {
      await this.end();
    },
    writable: true,
    configurable: true,
  });
}

const NOTHING_LOOKED_UP = new CacheLookupResponse(null);

function answerIsGone() {
  return new ApertureError(
    'ALREADY_ENDED',
    `checkResponse() comes too late: until it is closed, a client keeps the answers of its last ${KEPT_FLOWS} ended flows at ` +
      'most; call it once before, and it can be called for ever',
  );
}

function noResultCacheKey() {
  return new ApertureError('NO_ANSWER', 'the flow was started without a resultCacheKey');
}

// A reviver for JSON.parse: the protocol's field names in JavaScript's spelling (token_return_statuses becomes
// tokenReturnStatuses), as upstream has them.
function withoutUnderscores(_key, value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return value;
  }
  const entries = Object.entries(value);
  return Object.fromEntries(entries.map(([name, field]) => [camelCase(name), field]));
}

module.exports = { EndResponse, Flow };
