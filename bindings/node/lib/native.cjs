'use strict';

// The functions of the library with JavaScript's types: texts become pointers and lengths, structs are written and
// read in memory that is shared by all calls. That is safe because every call here returns before the next one begins.
//
// Each method returns the code of its call. What a call has written is read with the methods that follow it, before
// the next call.

const { isMainThread } = require('node:worker_threads');

const abi = require('./abi.cjs');
const { activeBaggage } = require('./baggage.cjs');
const { ApertureError, invalidArgument } = require('./errors.cjs');
const { loadLibrary } = require('./library.cjs');
const { Memory, readInt64, readUint64, writeUint64 } = require('./memory.cjs');
const { codeNames, snakeCase } = require('./names.cjs');
const { describe, hasLoneSurrogate } = require('./options.cjs');

const {
  error, client_options, flow_params, decision, end_result, completion, stats, label, text, attribute, cache_keys,
  cache_entry, cache_key,
} = abi.structs;

/** How many completions are taken by one poll. */
const POLL_CAPACITY = 64;

// Where things lie in the memory of the calls: outputs of 8 bytes, then structs.
const layout = {};
let layoutSize = 0;
for (const [name, size] of Object.entries({
  handle: 8,
  call: 8,
  count: 8,
  status: 8,
  error: error.size,
  clientOptions: client_options.size,
  flowParams: flow_params.size,
  decision: decision.size,
  endResult: end_result.size,
  stats: stats.size,
  attribute: attribute.size,
  cacheKeys: cache_keys.size,
  cacheEntry: cache_entry.size,
  cacheKey: cache_key.size,
  key: text.size,
  completions: completion.size * POLL_CAPACITY,
})) {
  layout[name] = layoutSize;
  layoutSize += size;
}

// The texts of a call lie in a memory of their own, so that a call with large labels can take a larger one. What a call
// writes of unknown length goes to another one.
const TEXTS_SIZE = 64 * 1024;
const OUTPUT_SIZE = 64 * 1024;

// Where the fields lie that every flow needs. They are constants because looking them up would cost as much as the rest.
const offsetOf = (name, { fields }, field) => layout[name] + fields[field].offset;
const PARAMS_CONTROL_POINT = offsetOf('flowParams', flow_params, 'control_point');
const PARAMS_LABELS = offsetOf('flowParams', flow_params, 'labels');
const PARAMS_LABEL_COUNT = offsetOf('flowParams', flow_params, 'label_count');
const PARAMS_CHECK_TIMEOUT = offsetOf('flowParams', flow_params, 'check_timeout_ns');
const PARAMS_RAMP_MODE = offsetOf('flowParams', flow_params, 'ramp_mode');
const DECISION = offsetOf('decision', decision, 'decision');
const SHOULD_RUN = offsetOf('decision', decision, 'should_run');
const REJECT_REASON = offsetOf('decision', decision, 'reject_reason');
const UNREACHABLE_REASON = offsetOf('decision', decision, 'unreachable_reason');
const HTTP_STATUS = offsetOf('decision', decision, 'http_status');
const RETRY_AFTER = offsetOf('decision', decision, 'retry_after_ns');
const FLOW_END_ANSWERED = offsetOf('endResult', end_result, 'flow_end_answered');
const HANDLE = layout.handle;

const DATA = text.fields.data.offset;
const LENGTH = text.fields.length.offset;
const LABEL_SIZE = label.size;
const LABEL_KEY = label.fields.key.offset;
const LABEL_VALUE = label.fields.value.offset;

/** The longest UTF-8 form of a UTF-16 unit, in bytes. */
const MAX_BYTES_PER_UNIT = 3;

const NO_LABELS = Object.freeze([]);

// The keys and values of labels in turn, after those of the baggage: the later value of a key counts, and what a remote
// caller sends must not replace what the program says. Each is read once, before memory is reserved: a getter might give
// another value the second time.
function collectLabels(baggage, labels) {
  if (labels === undefined) {
    return baggage ?? NO_LABELS;
  }
  const texts = baggage ?? [];
  for (const key of Object.keys(labels)) {
    const value = labels[key];
    if (typeof value !== 'string') {
      throw invalidArgument(`params.labels[${JSON.stringify(key)}] must be a string, not ${describe(value)}`);
    }
    texts.push(key, value);
  }
  return texts;
}

const NO_KEYS = Object.freeze({ resultCacheKey: '', globalCacheKeys: [] });

function unitsOf(texts) {
  let units = 0;
  for (const one of texts) {
    units += one.length;
  }
  return units;
}

function unitsOfKeys({ resultCacheKey, globalCacheKeys }) {
  return unitsOf(globalCacheKeys) + resultCacheKey.length;
}

function errorWith(code, message) {
  return new ApertureError(codeNames.get(code) ?? 'UNKNOWN', message);
}

class Native {
  #functions;
  #koffi;
  #memory;
  #view;
  // The texts of the call that is being made; its usual memory, or a larger one for this call.
  #texts;
  #usualTexts;
  #textsEnd = 0;
  #output;

  // Addresses, as BigInts because koffi takes those fastest.
  #handle;
  #call;
  #count;
  #status;
  #error;
  #flowParams;
  #decision;
  #endResult;
  #attribute;
  #cacheKeys;
  #cacheEntry;
  #cacheKey;
  #key;
  #completions;

  constructor() {
    const { koffi, functions } = loadLibrary();
    this.#koffi = koffi;
    this.#functions = functions;
    this.#memory = new Memory(koffi, layoutSize);
    this.#view = this.#memory.view;
    this.#usualTexts = new Memory(koffi, TEXTS_SIZE);
    this.#texts = this.#usualTexts;
    this.#output = new Memory(koffi, OUTPUT_SIZE);

    const addressOf = (name) => BigInt(this.#memory.address + layout[name]);
    this.#handle = addressOf('handle');
    this.#call = addressOf('call');
    this.#count = addressOf('count');
    this.#status = addressOf('status');
    this.#error = addressOf('error');
    this.#flowParams = addressOf('flowParams');
    this.#decision = addressOf('decision');
    this.#endResult = addressOf('endResult');
    this.#attribute = addressOf('attribute');
    this.#cacheKeys = addressOf('cacheKeys');
    this.#cacheEntry = addressOf('cacheEntry');
    this.#cacheKey = addressOf('cacheKey');
    this.#key = addressOf('key');
    this.#completions = addressOf('completions');

    for (const [name, struct] of Object.entries({
      error,
      clientOptions: client_options,
      flowParams: flow_params,
      decision,
      endResult: end_result,
      stats,
      attribute,
      cacheKeys: cache_keys,
      cacheEntry: cache_entry,
      cacheKey: cache_key,
      completions: completion,
    })) {
      writeUint64(this.#view, layout[name] + struct.fields.struct_size.offset, struct.size);
    }
  }

  // ---- Errors ----

  /** The error of the call that was made last and returned this code. */
  lastError(code) {
    return errorWith(code, this.#readMessage());
  }

  /** An error for which there is no message but the code's description. */
  errorOf(code) {
    return errorWith(code, this.#functions.aperture_error_description(code));
  }

  #readMessage() {
    const { message, message_length: length } = error.fields;
    const start = layout.error + message.offset;
    return this.#memory.bytes.utf8Slice(start, start + this.#view.getUint32(layout.error + length.offset, true));
  }

  // ---- Texts ----

  /** Makes room for texts with this many UTF-16 units, and for structs of this size before them. */
  #reserveTexts(units, structsSize) {
    const size = structsSize + units * MAX_BYTES_PER_UNIT;
    this.#texts = size <= TEXTS_SIZE ? this.#usualTexts : new Memory(this.#koffi, size);
    this.#textsEnd = structsSize;
  }

  /** Gives back the memory of unusually large texts. */
  #releaseTexts() {
    this.#texts = this.#usualTexts;
  }

  /** Writes a text, and an aperture_text that points to it. Returns its length in bytes. */
  #writeText(view, offset, value) {
    const length = this.#texts.writeText(this.#textsEnd, value);
    writeUint64(view, offset + DATA, this.#texts.address + this.#textsEnd);
    writeUint64(view, offset + LENGTH, length);
    this.#textsEnd += length;
    return length;
  }

  /** Writes labels, given by key and value in turn, into the room before the texts; returns their address, or 0. */
  #writeLabels(texts) {
    const { view, address } = this.#texts;
    const count = texts.length / 2;
    for (let i = 0; i < count; i++) {
      this.#writeText(view, i * LABEL_SIZE + LABEL_KEY, texts[2 * i]);
      this.#writeText(view, i * LABEL_SIZE + LABEL_VALUE, texts[2 * i + 1]);
    }
    return count > 0 ? address : 0;
  }

  /** Writes an array of aperture_text into the room before the texts, and returns its address; 0 if there is none. */
  #writeTexts(offset, values) {
    for (let i = 0; i < values.length; i++) {
      this.#writeText(this.#texts.view, offset + i * text.size, values[i]);
    }
    return values.length > 0 ? this.#texts.address + offset : 0;
  }

  // ---- Outputs ----

  /** Calls a function that fills a buffer, once more with a larger one when that is too small. Returns what it wrote. */
  #fill(call) {
    let room = this.#output;
    for (;;) {
      const code = call(room.buffer, room.size);
      const length = readUint64(this.#view, layout.count);
      if (code === abi.Code.OK) {
        return room.bytes.subarray(0, length);
      }
      if (code !== abi.Code.ERROR_BUFFER_TOO_SMALL) {
        throw this.lastError(code);
      }
      room = new Memory(this.#koffi, length);
    }
  }

  // ---- Clients ----

  /** Makes a client; its handle is read with newHandle(). */
  newClient(options) {
    const { fields } = client_options;
    const view = this.#view;
    const at = (field) => layout.clientOptions + field.offset;
    const { texts, metadata } = options;
    const entries = metadata.length / 2;
    this.#reserveTexts(unitsOf(Object.values(texts)) + unitsOf(metadata), entries * label.size);
    for (const [name, value] of Object.entries(texts)) {
      this.#writeText(view, at(fields[snakeCase(name)]), value);
    }
    writeUint64(view, at(fields.metadata), this.#writeLabels(metadata));
    writeUint64(view, at(fields.metadata_count), entries);
    writeUint64(view, at(fields.keepalive_time_ns), options.keepaliveTimeNs);
    writeUint64(view, at(fields.keepalive_timeout_ns), options.keepaliveTimeoutNs);
    writeUint64(view, at(fields.telemetry_queue), options.telemetryQueue);
    writeUint64(view, at(fields.telemetry_batch), options.telemetryBatch);
    writeUint64(view, at(fields.telemetry_interval_ns), options.telemetryIntervalNs);
    writeUint64(view, at(fields.flow_end_timeout_ns), options.flowEndTimeoutNs);
    writeUint64(view, at(fields.max_pending_calls), options.maxPendingCalls);
    writeUint64(view, at(fields.max_labels), options.maxLabels);
    writeUint64(view, at(fields.max_waiting), options.maxWaiting);
    writeUint64(view, at(fields.cache_bytes), options.cacheBytes);
    view.setInt32(at(fields.compression), options.compression, true);
    view.setInt32(at(fields.insecure), options.insecure ? 1 : 0, true);
    view.setInt32(at(fields.skip_verify), options.skipVerify ? 1 : 0, true);
    view.setInt32(at(fields.telemetry_off), options.telemetry ? 0 : 1, true);
    if (!isMainThread) {
      // A worker can be terminated, and none of its code runs then: the library closes what it leaves. Where the process
      // has no room for that, everything else works.
      this.#functions.aperture_close_clients_with_thread(null);
    }
    const pointer = BigInt(this.#memory.address + layout.clientOptions);
    const code = this.#functions.aperture_new_client(pointer, this.#handle, this.#error);
    this.#releaseTexts();
    return code;
  }

  /** The handle that newClient, startFlow or lookUpCache has made. */
  newHandle() {
    return readUint64(this.#view, HANDLE);
  }

  /** The handle of the asynchronous call that was made last and is pending. */
  newCall() {
    return readUint64(this.#view, layout.call);
  }

  cancelCall(call) {
    return this.#functions.aperture_call_cancel(call, null);
  }

  waitReady(client, timeoutNs, tag) {
    return this.#functions.aperture_client_wait_ready_async(client, timeoutNs, tag, this.#call, this.#error);
  }

  closeClient(client, timeoutNs, tag) {
    return this.#functions.aperture_client_close_async(client, timeoutNs, tag, this.#call, this.#error);
  }

  /** Reads how the connection is, for connectionState(). */
  state(client) {
    return this.#functions.aperture_client_state(client, this.#status, this.#error);
  }

  connectionState() {
    return this.#view.getInt32(layout.status, true);
  }

  reload(client) {
    const code = this.#functions.aperture_client_reload(client, this.#error);
    if (code !== abi.Code.OK) {
      throw this.lastError(code);
    }
  }

  /** What the local engine has counted, as JSON. */
  snapshot(client) {
    const written = this.#fill((buffer, size) =>
      this.#functions.aperture_client_snapshot(client, buffer, size, this.#count, this.#error));
    return written.utf8Slice();
  }

  stats(client) {
    const pointer = BigInt(this.#memory.address + layout.stats);
    return this.#functions.aperture_client_stats(client, pointer, this.#error);
  }

  /** The value of a counter after stats(). */
  counter(name) {
    return readUint64(this.#view, layout.stats + stats.fields[name].offset);
  }

  // ---- Flows ----

  /** Starts a flow. The handle is read with newHandle(), the decision with the methods below. */
  startFlow(client, controlPoint, { labels, checkTimeoutNs, rampMode, cacheKeys }, tag) {
    if (typeof controlPoint !== 'string') {
      throw invalidArgument(`controlPoint must be a string, not ${describe(controlPoint)}`);
    }
    const view = this.#view;
    const texts = collectLabels(activeBaggage(), labels);
    const count = texts.length / 2;
    const labelsSize = count * LABEL_SIZE;
    const units = unitsOf(texts) + controlPoint.length;
    if (cacheKeys === null) {
      this.#reserveTexts(units, labelsSize);
    } else {
      this.#reserveTexts(units + unitsOfKeys(cacheKeys), labelsSize + cacheKeys.globalCacheKeys.length * text.size);
    }

    const length = this.#writeText(view, PARAMS_CONTROL_POINT, controlPoint);
    if (length !== controlPoint.length && hasLoneSurrogate(controlPoint)) {
      throw invalidArgument('controlPoint must be valid Unicode; it has a lone surrogate');
    }
    writeUint64(view, PARAMS_LABELS, this.#writeLabels(texts));
    writeUint64(view, PARAMS_LABEL_COUNT, count);
    writeUint64(view, PARAMS_CHECK_TIMEOUT, checkTimeoutNs);
    view.setInt32(PARAMS_RAMP_MODE, rampMode ? 1 : 0, true);
    if (cacheKeys !== null) {
      this.#writeFlowKeys(cacheKeys, labelsSize);
    }

    const code = this.#functions.aperture_start_flow_async(
      client, this.#flowParams, tag, this.#handle, this.#decision, this.#call, this.#error,
    );
    this.#releaseTexts();
    if (cacheKeys !== null) {
      this.#writeFlowKeys(NO_KEYS, 0); // for the next flow
    }
    return code;
  }

  #writeFlowKeys({ resultCacheKey, globalCacheKeys }, offset) {
    const { fields } = flow_params;
    this.#writeText(this.#view, layout.flowParams + fields.result_cache_key.offset, resultCacheKey);
    const address = this.#writeTexts(offset, globalCacheKeys);
    writeUint64(this.#view, layout.flowParams + fields.global_cache_keys.offset, address);
    writeUint64(this.#view, layout.flowParams + fields.global_cache_key_count.offset, globalCacheKeys.length);
  }

  /** How much room the texts of the call that was made last took, in bytes. */
  textsSize() {
    return this.#textsEnd;
  }

  /** Reads the decision of a flow that came with a completion, for the methods below. */
  flowDecision(flow) {
    return this.#functions.aperture_flow_decision(flow, this.#decision, this.#error);
  }

  decision() {
    return this.#view.getInt32(DECISION, true);
  }

  shouldRun() {
    return this.#view.getInt32(SHOULD_RUN, true) === 1;
  }

  rejectReason() {
    return this.#view.getInt32(REJECT_REASON, true);
  }

  unreachableReason() {
    return this.#view.getInt32(UNREACHABLE_REASON, true);
  }

  httpStatus() {
    return this.#view.getInt32(HTTP_STATUS, true);
  }

  retryAfterNs() {
    return readInt64(this.#view, RETRY_AFTER);
  }

  /** Why a flow is unreachable. */
  flowFailure(flow) {
    const code = this.#functions.aperture_flow_error(flow, this.#error, null);
    if (code !== abi.Code.OK) {
      return this.errorOf(code);
    }
    return this.lastError(this.#view.getInt32(layout.error + error.fields.code.offset, true));
  }

  /** The agent's whole answer about a flow, as JSON; empty if nothing was decided. */
  flowCheckResponse(flow) {
    const written = this.#fill((buffer, size) =>
      this.#functions.aperture_flow_check_response(flow, buffer, size, this.#count, this.#error));
    return written.utf8Slice();
  }

  setFlowStatus(flow, status) {
    return this.#functions.aperture_flow_set_status(flow, status, this.#error);
  }

  /** Gives a flow an attribute. An integer is a BigInt, of 64 bits. */
  setFlowAttribute(flow, key, value) {
    const { fields } = attribute;
    const at = (field) => layout.attribute + field.offset;
    const view = this.#view;
    this.#reserveTexts(key.length + (typeof value === 'string' ? value.length : 0), 0);
    this.#writeText(view, at(fields.key), key);
    if (typeof value === 'string') {
      view.setInt32(at(fields.kind), abi.AttributeKind.ATTRIBUTE_TEXT, true);
      this.#writeText(view, at(fields.text), value);
    } else if (typeof value === 'bigint') {
      view.setInt32(at(fields.kind), abi.AttributeKind.ATTRIBUTE_INTEGER, true);
      view.setBigInt64(at(fields.integer), value, true);
    } else {
      view.setInt32(at(fields.kind), abi.AttributeKind.ATTRIBUTE_NUMBER, true);
      view.setFloat64(at(fields.number), value, true);
    }
    const code = this.#functions.aperture_flow_set_attribute(flow, this.#attribute, this.#error);
    this.#releaseTexts();
    return code;
  }

  endFlow(flow, tag) {
    return this.#functions.aperture_flow_end_async(flow, tag, this.#endResult, this.#call, this.#error);
  }

  /** How a flow ended whose end came with a completion. */
  flowEndResult(flow) {
    return this.#functions.aperture_flow_end_result(flow, this.#endResult, this.#error);
  }

  /** Whether the agent has answered the end of a flow. */
  flowEndAnswered() {
    return this.#view.getInt32(FLOW_END_ANSWERED, true) === 1;
  }

  /** The agent's answer to the end of a flow, as JSON; empty if there is none. */
  flowEndResponse(flow) {
    const written = this.#fill((buffer, size) =>
      this.#functions.aperture_flow_end_response(flow, buffer, size, this.#count, this.#error));
    return written.utf8Slice();
  }

  closeFlow(flow) {
    return this.#functions.aperture_flow_close(flow, null);
  }

  // ---- Caches ----

  /** A copy of what a flow's caches had under a key, or null for a miss. Throws when neither is known. */
  flowCacheValue(flow, scope, key) {
    return this.#cacheValue(this.#functions.aperture_flow_cache_value, flow, scope, key);
  }

  /** The same from the answer of a look-up. */
  answerCacheValue(answer, scope, key) {
    return this.#cacheValue(this.#functions.aperture_cache_answer_value, answer, scope, key);
  }

  #cacheValue(read, handle, scope, key) {
    this.#reserveTexts(key.length, 0);
    this.#writeText(this.#view, layout.key, key);
    try {
      const value = this.#fill((buffer, size) =>
        read(handle, scope, this.#key, this.#status, buffer, size, this.#count, this.#error));
      return this.#view.getInt32(layout.status, true) === abi.LookupStatus.LOOKUP_HIT ? Buffer.from(value) : null;
    } finally {
      this.#releaseTexts();
    }
  }

  /** Looks entries up. An answer that is there at once is read with newHandle(). */
  lookUpCache(client, controlPoint, keys, timeoutNs, tag) {
    const { fields } = cache_keys;
    const at = (field) => layout.cacheKeys + field.offset;
    const { resultCacheKey, globalCacheKeys } = keys;
    this.#reserveTexts(controlPoint.length + unitsOfKeys(keys), globalCacheKeys.length * text.size);
    this.#writeText(this.#view, at(fields.control_point), controlPoint);
    this.#writeText(this.#view, at(fields.result_key), resultCacheKey);
    writeUint64(this.#view, at(fields.global_keys), this.#writeTexts(0, globalCacheKeys));
    writeUint64(this.#view, at(fields.global_key_count), globalCacheKeys.length);
    writeUint64(this.#view, at(fields.timeout_ns), timeoutNs);
    const code = this.#functions.aperture_cache_lookup_async(
      client, this.#cacheKeys, tag, this.#handle, this.#call, this.#error,
    );
    this.#releaseTexts();
    return code;
  }

  /** Stores a value, which is a string or bytes. */
  setCache(client, controlPoint, { scope, key }, { value, ttlNs }, timeoutNs, tag) {
    const { fields } = cache_entry;
    const at = (field) => layout.cacheEntry + field.offset;
    const bytes = typeof value === 'string' ? 0 : value.byteLength;
    this.#reserveTexts(controlPoint.length + key.length + (bytes === 0 ? value.length : 0), bytes);
    this.#writeText(this.#view, at(fields.control_point), controlPoint);
    this.#writeText(this.#view, at(fields.key), key);
    if (typeof value === 'string') {
      this.#writeText(this.#view, at(fields.value), value);
    } else {
      this.#texts.bytes.set(value, 0);
      writeUint64(this.#view, at(fields.value) + DATA, this.#texts.address);
      writeUint64(this.#view, at(fields.value) + LENGTH, bytes);
    }
    writeUint64(this.#view, at(fields.ttl_ns), ttlNs);
    writeUint64(this.#view, at(fields.timeout_ns), timeoutNs);
    this.#view.setInt32(at(fields.scope), scope, true);
    const code = this.#functions.aperture_cache_set_async(client, this.#cacheEntry, tag, this.#call, this.#error);
    this.#releaseTexts();
    return code;
  }

  deleteCache(client, controlPoint, { scope, key }, timeoutNs, tag) {
    const { fields } = cache_key;
    const at = (field) => layout.cacheKey + field.offset;
    this.#reserveTexts(controlPoint.length + key.length, 0);
    this.#writeText(this.#view, at(fields.control_point), controlPoint);
    this.#writeText(this.#view, at(fields.key), key);
    writeUint64(this.#view, at(fields.timeout_ns), timeoutNs);
    this.#view.setInt32(at(fields.scope), scope, true);
    const code = this.#functions.aperture_cache_delete_async(client, this.#cacheKey, tag, this.#call, this.#error);
    this.#releaseTexts();
    return code;
  }

  closeAnswer(answer) {
    return this.#functions.aperture_cache_answer_close(answer, null);
  }

  // ---- Completions ----

  /** The descriptor that becomes readable when completions wait; the caller's to close. */
  completionDescriptor(client) {
    const code = this.#functions.aperture_client_completion_fd(client, this.#count, this.#error);
    if (code !== abi.Code.OK) {
      throw this.lastError(code);
    }
    return this.#view.getInt32(layout.count, true);
  }

  /** Takes up to POLL_CAPACITY completions and returns how many; they are read with completion(). */
  poll(client) {
    const code = this.#functions.aperture_client_poll(
      client, this.#completions, POLL_CAPACITY, this.#count, this.#error,
    );
    if (code !== abi.Code.OK) {
      throw this.lastError(code);
    }
    return readUint64(this.#view, layout.count);
  }

  completionTag(index) {
    return this.#completionHandle(index, completion.fields.tag);
  }

  /** The flow that was started or ended, or 0. */
  completionFlow(index) {
    return this.#completionHandle(index, completion.fields.flow);
  }

  /** What a look-up in the cache found, or 0. */
  completionAnswer(index) {
    return this.#completionHandle(index, completion.fields.answer);
  }

  #completionHandle(index, { offset }) {
    return readUint64(this.#view, layout.completions + index * completion.size + offset);
  }

  /** What went wrong with the call, or null. */
  completionError(index) {
    const { fields } = completion;
    const start = layout.completions + index * completion.size;
    const code = this.#view.getInt32(start + fields.code.offset, true);
    if (code === abi.Code.OK) {
      return null;
    }
    const message = start + fields.message.offset;
    const length = this.#view.getUint32(start + fields.message_length.offset, true);
    return errorWith(code, this.#memory.bytes.utf8Slice(message, message + length));
  }
}

let native = null;

/** The one Native of this environment, made at the first call. */
function openNative() {
  native ??= new Native();
  return native;
}

module.exports = { POLL_CAPACITY, openNative };
