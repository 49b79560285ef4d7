// Runs the conformance cases with the Node package. See tests/conformance/README.md.

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(new URL('../../../bindings/node/index.mjs', import.meta.url));
const { ApertureClient, ApertureError, FlowStatus } = require('./index.cjs');
const { liveHandles } = require('./test/live_handles.cjs');
const { context, propagation } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const clients = new Map();
const flows = new Map();
const begun = new Map();

/** The arguments of a step, in their order. */
class Step {
  constructor(words) {
    this.words = words.map((word) => word.split('=').map(unescape));
  }

  bytes(name) {
    return this.words.find(([key]) => key.toString() === name)?.[1];
  }

  text(name) {
    const value = this.bytes(name);
    return value === undefined ? undefined : decode(value);
  }

  number(name) {
    const value = this.text(name);
    return value === undefined ? undefined : Number(value);
  }

  ms(name) {
    const nanoseconds = this.number(name);
    return nanoseconds === undefined ? undefined : nanoseconds / 1e6;
  }

  flag(name) {
    const value = this.text(name);
    return value === undefined ? undefined : value === 'true';
  }

  texts(name) {
    const values = this.words.filter(([key]) => key.toString() === name).map(([, value]) => decode(value));
    return values.length === 0 ? undefined : values;
  }

  members(prefix) {
    const members = this.words
      .filter(([key]) => key.toString().startsWith(prefix))
      .map(([key, value]) => [key.toString().slice(prefix.length), decode(value)]);
    return members.length === 0 ? undefined : Object.freeze(Object.fromEntries(members));
  }

  get client() {
    return clients.get(this.number('client'));
  }

  get flow() {
    return flows.get(this.number('flow'));
  }
}

function unescape(part) {
  return Buffer.from(part.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
}

/** What is not UTF-8 becomes lone surrogates. */
function decode(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return String.fromCharCode(...Array.from(bytes, (byte) => (byte < 0x80 ? byte : 0xdc00 + byte)));
  }
}

/** An object without the members that a step has not given, undefined when it has given none; nobody can change it. */
function given(members) {
  const left = Object.entries(members).filter(([, value]) => value !== undefined);
  return left.length === 0 ? undefined : Object.freeze(Object.fromEntries(left));
}

function paramsOf(step, signal) {
  return given({
    labels: step.members('labels.'),
    checkTimeoutMs: step.ms('check_timeout_ns'),
    rampMode: step.flag('ramp_mode'),
    resultCacheKey: step.text('result_cache_key'),
    globalCacheKeys: step.texts('global_cache_key'),
    signal,
  });
}

/** Does something with the members of a baggage header as the baggage of OpenTelemetry. */
function withBaggage(step, work) {
  const members = (step.text('baggage') ?? '').split(',').filter(Boolean);
  const entries = members.map((member) => member.split('=')).map(([key, value]) => [key, { value: decodeURIComponent(value) }]);
  const baggage = propagation.createBaggage(Object.fromEntries(entries));
  return context.with(propagation.setBaggage(context.active(), baggage), work);
}

function start(step, signal) {
  return withBaggage(step, () => step.client.startFlow(step.text('control_point'), paramsOf(step, signal)));
}

function cacheKey(step) {
  return { [step.text('scope') === 'global' ? 'globalCacheKey' : 'resultCacheKey']: step.text('key') };
}

function cacheEntry(step) {
  return { value: step.bytes('value'), ttlMs: step.ms('ttl_ns') };
}

/** What a body that fails throws. */
class Deliberate extends Error {}

// Each takes a step and returns the answer, or throws.
const operations = {
  open(step) {
    const options = given({
      address: step.text('address'),
      apiKey: step.text('api_key'),
      caFile: step.text('ca_file'),
      caPem: step.text('ca_pem'),
      serverName: step.text('server_name'),
      clientCertificateFile: step.text('client_certificate_file'),
      clientKeyFile: step.text('client_key_file'),
      clientCertificatePem: step.text('client_certificate_pem'),
      clientKeyPem: step.text('client_key_pem'),
      userAgent: step.text('user_agent'),
      compression: step.text('compression'),
      insecure: step.flag('insecure'),
      skipVerify: step.flag('skip_verify'),
      telemetry: step.flag('telemetry'),
      flowEndTimeoutMs: step.ms('flow_end_timeout_ns'),
      keepaliveTimeMs: step.ms('keepalive_time_ns'),
      keepaliveTimeoutMs: step.ms('keepalive_timeout_ns'),
      telemetryIntervalMs: step.ms('telemetry_interval_ns'),
      telemetryQueue: step.number('telemetry_queue'),
      telemetryBatch: step.number('telemetry_batch'),
      maxPendingCalls: step.number('max_pending_calls'),
      metadata: step.members('metadata.'),
    });
    clients.set(step.number('client'), new ApertureClient(options));
  },

  from_environment(step) {
    const variables = step.members('env.');
    Object.assign(process.env, variables);
    try {
      clients.set(step.number('client'), ApertureClient.fromEnvironment());
    } finally {
      for (const name of Object.keys(variables)) {
        delete process.env[name];
      }
    }
  },

  wait_ready: (step) => step.client.waitReady(step.ms('timeout_ns')),
  state: (step) => ({ state: step.client.state().toLowerCase() }),
  stats: (step) => snakeCase(step.client.stats()),
  close: (step) => step.client.close(step.ms('timeout_ns')),

  async start_flow(step) {
    const flow = await start(step);
    flows.set(step.number('flow'), flow);
    return answerOf(flow);
  },

  begin_flow(step) {
    const controller = new AbortController();
    begun.set(step.number('flow'), { controller, flow: start(step, controller.signal) });
  },

  async join_flow(step) {
    const flow = await begun.get(step.number('flow')).flow;
    begun.delete(step.number('flow'));
    flows.set(step.number('flow'), flow);
    return answerOf(flow);
  },

  async cancel_flow(step) {
    begun.get(step.number('flow')).controller.abort();
    try {
      return await operations.join_flow(step);
    } catch (error) {
      if (error.name === 'AbortError') {
        return { cancelled: true };
      }
      throw error;
    }
  },

  read: (step) => answerOf(step.flow),
  check_response: (step) => asJSON(step.flow.checkResponse()),
  set_status: (step) => step.flow.setStatus(step.text('status') === 'ERROR' ? FlowStatus.Error : FlowStatus.OK),

  set_attribute(step) {
    const value = step.text('text') ?? step.number('integer') ?? step.number('number');
    step.flow.setAttribute(step.text('key'), value);
  },

  async end(step) {
    const response = await step.flow.end();
    throwError(response);
    return asJSON(response.getResponse());
  },

  async drop(step) {
    flows.delete(step.number('flow'));
    await collect();
  },

  async guard(step) {
    const body = () => {
      if (step.text('body') === 'throw') {
        throw new Deliberate();
      }
      return 'returned';
    };
    try {
      return { outcome: await step.client.guard(step.text('control_point'), paramsOf(step), body) };
    } catch (error) {
      if (error instanceof Deliberate || error.code === 'REJECTED') {
        return { outcome: error instanceof Deliberate ? 'thrown' : 'rejected' };
      }
      throw error;
    }
  },

  result_cache: (step) => valueOf(step.flow.resultCache()),
  global_cache: (step) => valueOf(step.flow.globalCache(step.text('key'))),
  set_result_cache: async (step) => throwError(await step.flow.setResultCache(cacheEntry(step))),
  delete_result_cache: async (step) => throwError(await step.flow.deleteResultCache()),
  set_global_cache: async (step) => throwError(await step.flow.setGlobalCache(step.text('key'), cacheEntry(step))),
  delete_global_cache: async (step) => throwError(await step.flow.deleteGlobalCache(step.text('key'))),

  async cache_lookup(step) {
    const globalCacheKeys = step.texts('global_key');
    const keys = given({ resultCacheKey: step.text('result_key'), globalCacheKeys }) ?? {};
    const found = await step.client.cacheLookup(step.text('control_point'), keys, timeoutOf(step));
    throwError(found);
    const values = (globalCacheKeys ?? []).map((key) => valueOf(found.globalCache(key), `${key}.`));
    return Object.assign(valueOf(found.resultCache(), 'result.'), ...values);
  },

  async cache_set(step) {
    const point = step.text('control_point');
    throwError(await step.client.cacheSet(point, cacheKey(step), cacheEntry(step), timeoutOf(step)));
  },

  async cache_delete(step) {
    throwError(await step.client.cacheDelete(step.text('control_point'), cacheKey(step), timeoutOf(step)));
  },

  async reset() {
    for (const { controller, flow } of begun.values()) {
      flow.catch(() => {});
      controller.abort();
    }
    for (const client of clients.values()) {
      await client.close().catch(() => {}); // a case that cares closes by itself
    }
    begun.clear();
    flows.clear();
    clients.clear();
    await collect();
    return { handles: liveHandles() };
  },
};

function timeoutOf(step) {
  return given({ timeoutMs: step.ms('timeout_ns') });
}

/** Collects garbage, and lets what waits for it run. */
async function collect() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await sleep(1);
  }
}

function answerOf(flow) {
  const wait = flow.retryAfter();
  return given({
    decision: flow.decision().toLowerCase(),
    should_run: flow.shouldRun(),
    http_status: flow.httpResponseCode(),
    reject_reason: flow.rejectReason(),
    unreachable_reason: flow.unreachableReason().toLowerCase(),
    retry_after_ns: wait === null ? undefined : wait.seconds * 1e9 + wait.nanos,
    failure: flow.error()?.message,
  });
}

function throwError(response) {
  if (response.getError() !== null) {
    throw response.getError();
  }
}

function valueOf(response, prefix = '') {
  const members = {
    status: response.getLookupStatus(),
    value: response.getValue() ?? undefined,
    ...(response.getError() === null ? {} : failure(response.getError())),
  };
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [prefix + name, value]));
}

function asJSON(message) {
  return message === null ? {} : { json: JSON.stringify(snakeCase(message)) };
}

/** Returns a message with the protocol's names. */
function snakeCase(value) {
  if (value instanceof Uint8Array) {
    return Buffer.from(value).toString('base64');
  }
  if (Array.isArray(value)) {
    return value.map(snakeCase);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const name = (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [name(key), snakeCase(member)]));
}

function failure(error) {
  return { error: error instanceof ApertureError ? error.code : 'INTERNAL', message: error.message };
}

function escape(value) {
  const bytes = value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value));
  return bytes.toString('latin1').replace(/[^A-Za-z0-9_.]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

async function answer(line) {
  const [operation, ...words] = line.split(' ');
  let fields;
  try {
    fields = operation in operations ? await operations[operation](new Step(words)) : { error: 'UNSUPPORTED' };
  } catch (error) {
    fields = failure(error);
  }
  const members = Object.entries(fields ?? {}).filter(([, value]) => value !== undefined);
  return members.map(([name, value]) => `${escape(name)}=${escape(value)}`).join(' ');
}

for await (const line of createInterface({ input: process.stdin })) {
  if (!process.stdout.write(`${await answer(line)}\n`)) {
    await once(process.stdout, 'drain');
  }
}
