'use strict';

// The functions of the library with JavaScript's types: texts become pointers and lengths, structs are written and
// read in memory that is shared by all calls. That is safe because every call here returns before the next one begins.
//
// Each method returns the code of its call. What a call has written is read with the methods that follow it, before
// the next call.

const { isMainThread } = require('node:worker_threads');

const abi = require('./abi.cjs');
const { ApertureError, invalidArgument } = require('./errors.cjs');
const { loadLibrary } = require('./library.cjs');
const { Memory, readInt64, readUint64, writeUint64 } = require('./memory.cjs');
const { codeNames } = require('./names.cjs');
const { describe, hasLoneSurrogate } = require('./options.cjs');

const { error, client_options, flow_params, decision, end_result, completion, stats, label, text } = abi.structs;

/** How many completions are taken by one poll. */
const POLL_CAPACITY = 64;

// Where things lie in the memory of the calls: outputs of 8 bytes, then structs.
const layout = {};
let layoutSize = 0;
for (const [name, size] of Object.entries({
  handle: 8,
  call: 8,
  count: 8,
  error: error.size,
  clientOptions: client_options.size,
  flowParams: flow_params.size,
  decision: decision.size,
  endResult: end_result.size,
  stats: stats.size,
  completions: completion.size * POLL_CAPACITY,
})) {
  layout[name] = layoutSize;
  layoutSize += size;
}

// The texts of a call lie in a memory of their own, so that a call with large labels can take a larger one.
const TEXTS_SIZE = 64 * 1024;

const DATA = text.fields.data.offset;
const LENGTH = text.fields.length.offset;
const LABEL_KEY = label.fields.key.offset;
const LABEL_VALUE = label.fields.value.offset;

/** The longest UTF-8 form of a UTF-16 unit, in bytes. */
const MAX_BYTES_PER_UNIT = 3;

const NO_LABELS = Object.freeze([]);

// The keys and values of labels in turn. Each is read once, before memory is reserved: a getter might give another
// value the second time.
function collectLabels(labels) {
  if (labels === undefined) {
    return NO_LABELS;
  }
  const texts = [];
  for (const key of Object.keys(labels)) {
    const value = labels[key];
    if (typeof value !== 'string') {
      throw invalidArgument(`params.labels[${JSON.stringify(key)}] must be a string, not ${describe(value)}`);
    }
    texts.push(key, value);
  }
  return texts;
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

  // Addresses, as BigInts because koffi takes those fastest.
  #handle;
  #call;
  #count;
  #error;
  #flowParams;
  #decision;
  #endResult;
  #completions;

  constructor() {
    const { koffi, functions } = loadLibrary();
    this.#koffi = koffi;
    this.#functions = functions;
    this.#memory = new Memory(koffi, layoutSize);
    this.#view = this.#memory.view;
    this.#usualTexts = new Memory(koffi, TEXTS_SIZE);
    this.#texts = this.#usualTexts;

    const addressOf = (name) => BigInt(this.#memory.address + layout[name]);
    this.#handle = addressOf('handle');
    this.#call = addressOf('call');
    this.#count = addressOf('count');
    this.#error = addressOf('error');
    this.#flowParams = addressOf('flowParams');
    this.#decision = addressOf('decision');
    this.#endResult = addressOf('endResult');
    this.#completions = addressOf('completions');

    for (const [name, struct] of Object.entries({
      error,
      clientOptions: client_options,
      flowParams: flow_params,
      decision,
      endResult: end_result,
      stats,
      completions: completion,
    })) {
      writeUint64(this.#view, layout[name] + struct.fields.struct_size.offset, struct.size);
    }
  }

  // ---- Errors ----

  /** The error of the call that was made last and returned this code. */
  lastError(code) {
    return new ApertureError(codeNames.get(code) ?? 'UNKNOWN', this.#readMessage());
  }

  /** An error for which there is no message but the code's description. */
  errorOf(code) {
    return new ApertureError(codeNames.get(code) ?? 'UNKNOWN', this.#functions.aperture_error_description(code));
  }

  #readMessage() {
    const { message, message_length: length } = error.fields;
    const start = layout.error + message.offset;
    return this.#memory.bytes.utf8Slice(start, start + this.#view.getUint32(layout.error + length.offset, true));
  }

  // ---- Texts ----

  /** Makes room for texts with this many UTF-16 units and for this many label structs before them. */
  #reserveTexts(units, labelCount) {
    const size = labelCount * label.size + units * MAX_BYTES_PER_UNIT;
    this.#texts = size <= TEXTS_SIZE ? this.#usualTexts : new Memory(this.#koffi, size);
    this.#textsEnd = labelCount * label.size;
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

  // ---- Clients ----

  /** Makes a client; its handle is read with newHandle(). */
  newClient(options) {
    const { fields } = client_options;
    const view = this.#view;
    const { address, apiKey, caFile, serverName, userAgent } = options;
    this.#reserveTexts([address, apiKey, caFile, serverName, userAgent].join('').length, 0);
    const at = (field) => layout.clientOptions + field.offset;
    this.#writeText(view, at(fields.address), address);
    this.#writeText(view, at(fields.api_key), apiKey);
    this.#writeText(view, at(fields.ca_file), caFile);
    this.#writeText(view, at(fields.server_name), serverName);
    this.#writeText(view, at(fields.user_agent), userAgent);
    writeUint64(view, at(fields.flow_end_timeout_ns), options.flowEndTimeoutNs);
    writeUint64(view, at(fields.max_pending_calls), options.maxPendingCalls);
    view.setInt32(at(fields.insecure), options.insecure ? 1 : 0, true);
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

  /** The handle that newClient or startFlow has made. */
  newHandle() {
    return readUint64(this.#view, layout.handle);
  }

  waitReady(client, timeoutNs, tag) {
    return this.#functions.aperture_client_wait_ready_async(client, timeoutNs, tag, this.#call, this.#error);
  }

  /** Looks whether the client is ready, without waiting. */
  checkReady(client) {
    return this.#functions.aperture_client_wait_ready(client, 0, this.#error);
  }

  closeClient(client, timeoutNs, tag) {
    return this.#functions.aperture_client_close_async(client, timeoutNs, tag, this.#call, this.#error);
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
  startFlow(client, controlPoint, { labels, checkTimeoutNs, rampMode }, tag) {
    if (typeof controlPoint !== 'string') {
      throw invalidArgument(`controlPoint must be a string, not ${describe(controlPoint)}`);
    }
    const view = this.#view;
    const { fields } = flow_params;
    const texts = collectLabels(labels);
    const count = texts.length / 2;
    this.#reserveTexts(texts.reduce((units, one) => units + one.length, controlPoint.length), count);

    const length = this.#writeText(view, layout.flowParams + fields.control_point.offset, controlPoint);
    if (length !== controlPoint.length && hasLoneSurrogate(controlPoint)) {
      throw invalidArgument('controlPoint must be valid Unicode; it has a lone surrogate');
    }
    for (let i = 0; i < count; i++) {
      this.#writeText(this.#texts.view, i * label.size + LABEL_KEY, texts[2 * i]);
      this.#writeText(this.#texts.view, i * label.size + LABEL_VALUE, texts[2 * i + 1]);
    }
    writeUint64(view, layout.flowParams + fields.labels.offset, count > 0 ? this.#texts.address : 0);
    writeUint64(view, layout.flowParams + fields.label_count.offset, count);
    writeUint64(view, layout.flowParams + fields.check_timeout_ns.offset, checkTimeoutNs);
    view.setInt32(layout.flowParams + fields.ramp_mode.offset, rampMode ? 1 : 0, true);

    const code = this.#functions.aperture_start_flow_async(
      client, this.#flowParams, tag, this.#handle, this.#decision, this.#call, this.#error,
    );
    this.#releaseTexts();
    return code;
  }

  /** Reads the decision of a flow that came with a completion, for the methods below. */
  flowDecision(flow) {
    return this.#functions.aperture_flow_decision(flow, this.#decision, this.#error);
  }

  decision() {
    return this.#view.getInt32(layout.decision + decision.fields.decision.offset, true);
  }

  shouldRun() {
    return this.#view.getInt32(layout.decision + decision.fields.should_run.offset, true) === 1;
  }

  rejectReason() {
    return this.#view.getInt32(layout.decision + decision.fields.reject_reason.offset, true);
  }

  httpStatus() {
    return this.#view.getInt32(layout.decision + decision.fields.http_status.offset, true);
  }

  retryAfterNs() {
    return readInt64(this.#view, layout.decision + decision.fields.retry_after_ns.offset);
  }

  /** Why a flow is unreachable. */
  flowFailure(flow) {
    const code = this.#functions.aperture_flow_error(flow, this.#error, null);
    if (code !== abi.Code.OK) {
      return this.errorOf(code);
    }
    return this.lastError(this.#view.getInt32(layout.error + error.fields.code.offset, true));
  }

  setFlowStatus(flow, status) {
    return this.#functions.aperture_flow_set_status(flow, status, this.#error);
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
    return this.#view.getInt32(layout.endResult + end_result.fields.flow_end_answered.offset, true) === 1;
  }

  /** The agent's answer to the end of a flow, as JSON; empty if there is none. */
  flowEndResponse(flow) {
    let room = this.#usualTexts;
    for (;;) {
      const code = this.#functions.aperture_flow_end_response(flow, room.buffer, room.size, this.#count, this.#error);
      const length = readUint64(this.#view, layout.count);
      if (code === abi.Code.OK) {
        return room.bytes.utf8Slice(0, length);
      }
      if (code !== abi.Code.ERROR_BUFFER_TOO_SMALL) {
        throw this.lastError(code);
      }
      room = new Memory(this.#koffi, length);
    }
  }

  closeFlow(flow) {
    return this.#functions.aperture_flow_close(flow, null);
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
    return readUint64(this.#view, layout.completions + index * completion.size + completion.fields.tag.offset);
  }

  completionCode(index) {
    return this.#view.getInt32(layout.completions + index * completion.size + completion.fields.code.offset, true);
  }

  completionFlow(index) {
    return readUint64(this.#view, layout.completions + index * completion.size + completion.fields.flow.offset);
  }
}

let native = null;

/** The one Native of this environment, made at the first call. */
function openNative() {
  native ??= new Native();
  return native;
}

module.exports = { POLL_CAPACITY, openNative };
