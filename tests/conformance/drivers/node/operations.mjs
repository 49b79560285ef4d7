// What a step can ask for: functions that take its arguments, and return the answer or throw.

import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';

const require = createRequire(new URL('../../../../bindings/node/index.mjs', import.meta.url));
const { ApertureClient, ApertureError, FlowStatus } = require('./index.cjs');
const { liveHandles } = require('./test/live_handles.cjs');
const { context, propagation } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

const clients = new Map();
const flows = new Map();
const begun = new Map();
const deliberate = new Error('what a body throws');
const bodies = {
  return: () => ({ outcome: 'returned' }),
  throw: () => {
    throw deliberate;
  },
};

/** Starts a flow, with the members of a baggage header as the baggage of OpenTelemetry. */
function start({ client, controlPoint, baggage = '', ...params }) {
  const members = baggage.split(',').filter(Boolean).map((member) => member.split('='));
  const entries = members.map(([key, value]) => [key, { value: decodeURIComponent(value) }]);
  const current = propagation.setBaggage(context.active(), propagation.createBaggage(Object.fromEntries(entries)));
  return context.with(current, () => clients.get(client).startFlow(controlPoint, given(params)));
}

export const operations = {
  open: ({ client, ...options }) => void clients.set(client, new ApertureClient(given(options))),

  from_environment({ client, env }) {
    Object.assign(process.env, env);
    try {
      clients.set(client, ApertureClient.fromEnvironment());
    } finally {
      Object.keys(env).forEach((name) => delete process.env[name]);
    }
  },

  wait_ready: ({ client, timeoutMs }) => clients.get(client).waitReady(timeoutMs),
  state: ({ client }) => ({ state: clients.get(client).state().toLowerCase() }),
  stats: ({ client }) => snakeCase(clients.get(client).stats()),
  close: ({ client, timeoutMs }) => clients.get(client).close(timeoutMs),

  async start_flow({ flow, ...params }) {
    flows.set(flow, await start(params));
    return operations.read({ flow });
  },

  begin_flow({ flow, ...params }) {
    const controller = new AbortController();
    begun.set(flow, { controller, starting: start({ ...params, signal: controller.signal }) });
  },

  async join_flow({ flow }) {
    const { starting } = begun.get(flow);
    begun.delete(flow);
    flows.set(flow, await starting);
    return operations.read({ flow });
  },

  async cancel_flow({ flow }) {
    begun.get(flow).controller.abort();
    try {
      return await operations.join_flow({ flow });
    } catch (error) {
      return error.name === 'AbortError' ? { cancelled: true } : failure(error);
    }
  },

  read({ flow }) {
    const read = flows.get(flow);
    const wait = read.retryAfter();
    return {
      decision: read.decision().toLowerCase(),
      should_run: read.shouldRun(),
      http_status: read.httpResponseCode(),
      reject_reason: read.rejectReason(),
      unreachable_reason: read.unreachableReason().toLowerCase(),
      retry_after_ns: wait && wait.seconds * 1e9 + wait.nanos,
      failure: read.error()?.message,
    };
  },

  check_response: ({ flow }) => jsonOf(flows.get(flow).checkResponse()),
  set_status: ({ flow, status }) => flows.get(flow).setStatus(FlowStatus[status]),
  set_attribute: ({ flow, key, attribute }) => flows.get(flow).setAttribute(key, attribute),
  end: async ({ flow }) => jsonOf((await settle(flows.get(flow).end())).getResponse()),

  async drop({ flow }) {
    flows.delete(flow);
    await collect();
  },

  async guard({ client, controlPoint, body, ...params }) {
    try {
      return await clients.get(client).guard(controlPoint, given(params), bodies[body]);
    } catch (error) {
      if (error === deliberate) {
        return { outcome: 'thrown' };
      }
      return error.code === 'REJECTED' ? { outcome: 'rejected' } : failure(error);
    }
  },

  result_cache: ({ flow }) => valueOf(flows.get(flow).resultCache()),
  global_cache: ({ flow, key }) => valueOf(flows.get(flow).globalCache(key)),
  set_result_cache: ({ flow, ...entry }) => done(flows.get(flow).setResultCache(entry)),
  delete_result_cache: ({ flow }) => done(flows.get(flow).deleteResultCache()),
  set_global_cache: ({ flow, key, ...entry }) => done(flows.get(flow).setGlobalCache(key, entry)),
  delete_global_cache: ({ flow, key }) => done(flows.get(flow).deleteGlobalCache(key)),

  async cache_lookup({ client, controlPoint, timeoutMs, ...keys }) {
    const found = await settle(clients.get(client).cacheLookup(controlPoint, Object.freeze(keys), given({ timeoutMs })));
    const values = (keys.globalCacheKeys ?? []).map((key) => [key, valueOf(found.globalCache(key))]);
    return { result: valueOf(found.resultCache()), ...Object.fromEntries(values) };
  },

  cache_set: ({ client, controlPoint, value, ttlMs, timeoutMs, ...key }) =>
    done(clients.get(client).cacheSet(controlPoint, key, { value, ttlMs }, given({ timeoutMs }))),

  cache_delete: ({ client, controlPoint, timeoutMs, ...key }) =>
    done(clients.get(client).cacheDelete(controlPoint, key, given({ timeoutMs }))),

  async reset() {
    for (const { controller, starting } of begun.values()) {
      starting.catch(() => {});
      controller.abort();
    }
    for (const client of clients.values()) {
      await client.close().catch(() => {}); // a case that cares closes by itself
    }
    [begun, flows, clients].forEach((made) => made.clear());
    await collect();
    return { handles: liveHandles() };
  },
};

/** Options that nobody can change; undefined when a step gives none. */
function given(options) {
  const left = Object.entries(options).filter(([, value]) => value !== undefined);
  return left.length === 0 ? undefined : Object.freeze(Object.fromEntries(left));
}

/** Waits for a response, and throws the error that it has. */
async function settle(outcome) {
  const response = await outcome;
  if (response.getError() !== null) {
    throw response.getError();
  }
  return response;
}

async function done(outcome) {
  await settle(outcome);
}

/** Collects garbage, and lets what waits for it run. */
async function collect() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await sleep(1);
  }
}

function valueOf(found) {
  const error = found.getError();
  return { status: found.getLookupStatus(), value: found.getValue(), ...(error && failure(error)) };
}

function jsonOf(message) {
  return { json: message && JSON.stringify(snakeCase(message)) };
}

/** Returns a message, or counters, with the protocol's names. */
function snakeCase(value) {
  if (value === null || typeof value !== 'object') {
    return value;
  }
  if (value instanceof Uint8Array) {
    return Buffer.from(value).toString('base64');
  }
  if (Array.isArray(value)) {
    return value.map(snakeCase);
  }
  const name = (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [name(key), snakeCase(member)]));
}

/** What was thrown, as an answer. */
export function failure(error) {
  return { error: error instanceof ApertureError ? error.code : 'INTERNAL', message: error.message };
}
