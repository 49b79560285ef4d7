// The caches of an agent and of the local engine, with flows and without.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  ApertureClient, CacheLookupResponse, FlowDecision, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse,
  LookupStatus,
} from '../index.mjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, openClient, startFakeAgent, startScriptedAgent,
} from './support.mjs';

leavesNoHandle();

const patient = { checkTimeoutMs: AMPLE_MS };
const ample = { timeoutMs: AMPLE_MS };
const hour = { seconds: 3600 };
const entry = { value: 'v', ttl: hour };

// A client of an agent with these flags.
async function clientOf(t, ...args) {
  return connect(t, await startFakeAgent(t, ...args));
}

// A client of an agent with this script.
async function clientOfScript(t, script) {
  return connect(t, await startScriptedAgent(t, script));
}

async function connect(t, agent) {
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  return { agent, client };
}

function expectHit(response, value) {
  assert.ok(response instanceof KeyLookupResponse);
  assert.equal(response.getError(), null);
  assert.equal(response.getLookupStatus(), LookupStatus.Hit);
  assert.ok(Buffer.isBuffer(response.getValue()));
  assert.deepEqual(response.getValue(), Buffer.from(value));
}

function expectMiss(response, code) {
  assert.ok(response instanceof KeyLookupResponse);
  assert.equal(response.getLookupStatus(), LookupStatus.Miss);
  assert.equal(response.getValue(), null);
  assert.equal(response.getError()?.code, code);
}

/** Sees that a flow stores its result, and the next one finds it. */
async function expectCaches(client) {
  const params = { ...patient, resultCacheKey: 'alice', globalCacheKeys: ['rates', 'none'] };

  const first = await client.startFlow('checkout', params);
  expectMiss(first.resultCache());
  expectMiss(first.globalCache('rates'));
  const stored = await first.setResultCache({ value: 'the result', ttl: hour }, ample);
  assert.ok(stored instanceof KeyUpsertResponse);
  assert.equal(stored.getError(), null);
  assert.equal((await first.setGlobalCache('rates', { value: Buffer.from('1.1'), ttl: hour }, ample)).getError(), null);
  expectMiss(first.resultCache());
  await first.end();

  const second = await client.startFlow('checkout', params);
  expectHit(second.resultCache(), 'the result');
  expectHit(second.globalCache('rates'), '1.1');
  expectMiss(second.globalCache('none'));
  expectMiss(second.globalCache('not asked for'), 'NO_ANSWER');
  await second.end();
  expectHit(second.resultCache(), 'the result');

  // The result cache belongs to the control point, the global cache to all.
  const elsewhere = await client.startFlow('search', params);
  await elsewhere.end();
  expectMiss(elsewhere.resultCache());
  expectHit(elsewhere.globalCache('rates'), '1.1');

  const deleted = await second.deleteResultCache(ample);
  assert.ok(deleted instanceof KeyDeleteResponse);
  assert.equal(deleted.getError(), null);
  assert.equal((await second.deleteGlobalCache('rates', ample)).getError(), null);
  const third = await client.startFlow('checkout', params);
  expectMiss(third.resultCache());
  expectMiss(third.globalCache('rates'));
  await third.end();

  const { cacheCalls, cacheCallsFailed } = client.stats();
  assert.deepEqual([cacheCalls, cacheCallsFailed], [4, 0]);
}

test('a flow stores its result in this process, and the next one finds it', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  await expectCaches(client);
  const refused = await client.cacheSet('checkout', { globalCacheKey: 'k'.repeat(233) }, entry);
  assert.equal(refused.getError()?.code, 'AGENT');
  assert.match(refused.getError().message, /key too large/);
});

test('a flow stores its result, and the next one finds it', async (t) => {
  const { agent, client } = await clientOf(t);
  await expectCaches(client);
  await client.close();
  const { checks } = await agent.report();
  assert.deepEqual(checks[0].cache_lookup_request.result_cache_key, 'alice');
  assert.deepEqual(checks[0].cache_lookup_request.global_cache_keys, ['rates', 'none']);
});

test('keys of one flow are not those of the next', async (t) => {
  const { agent, client } = await clientOf(t);
  const params = { ...patient, labels: { tier: 'gold' } };
  await (await client.startFlow('checkout', { ...params, resultCacheKey: 'r', globalCacheKeys: ['g'] })).end();
  await (await client.startFlow('checkout', { ...params, globalCacheKeys: ['h', 'ü'] })).end();
  await (await client.startFlow('checkout', { ...params, resultCacheKey: '', globalCacheKeys: [] })).end();
  await (await client.startFlow('checkout', params)).end();
  await client.close();
  const { checks } = await agent.report();
  const asked = checks.map(({ cache_lookup_request: keys }) => keys && [keys.result_cache_key, keys.global_cache_keys]);
  assert.deepEqual(asked, [['r', ['g']], ['', ['h', 'ü']], null, null]);
  assert.ok(checks.every(({ labels }) => labels.tier === 'gold'));
});

test('the keys are those at the start of the flow', async (t) => {
  const { client } = await clientOf(t);
  const globalCacheKeys = ['before'];
  const flow = await client.startFlow('checkout', { ...patient, globalCacheKeys });
  globalCacheKeys[0] = 'after';
  expectMiss(flow.globalCache('before'));
  expectMiss(flow.globalCache('after'), 'NO_ANSWER');
  await flow.end();
});

const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);

for (const [what, value] of Object.entries({
  'every byte': everyByte,
  'bytes that are not UTF-8 (B12)': Buffer.from([0xff, 0x00, 0x80]),
  'a part of a larger buffer': Buffer.from('xxxvaluexxx').subarray(3, 8),
  'no bytes': Buffer.alloc(0),
  'an empty text': '',
  'a text': 'größe €😀\0',
  'a megabyte': Buffer.alloc(1_000_000, everyByte),
  'a text of a megabyte': '€'.repeat(350_000),
  'as much as there may be': Buffer.alloc(4_000_000 - 'checkoutk'.length, 1),
})) {
  test(`${what} come back as they were`, async (t) => {
    const { client } = await clientOf(t);
    for (const [key, keys] of [
      [{ resultCacheKey: 'k' }, { resultCacheKey: 'k' }],
      [{ globalCacheKey: 'k' }, { globalCacheKeys: ['k'] }],
    ]) {
      assert.equal((await client.cacheSet('checkout', key, { value, ttl: hour }, ample)).getError(), null);
      const found = await client.cacheLookup('checkout', keys, ample);
      const flow = await client.startFlow('checkout', { ...patient, ...keys });
      for (const source of [found, flow]) {
        expectHit(keys.resultCacheKey ? source.resultCache() : source.globalCache('k'), value);
      }
      await flow.end();
    }
  });
}

for (const [what, time, nanoseconds] of [
  ['seconds and nanoseconds (B13)', { ttl: { seconds: 1, nanos: 50_000_000 } }, 1_050_000_000],
  ['one nanosecond', { ttl: { nanos: 1 } }, 1],
  ['texts, as upstream has them', { ttl: { seconds: '90061', nanos: 999_999_999 } }, 90_061_999_999_999],
  ['milliseconds', { ttlMs: 500 }, 500_000_000],
  ['a part of a millisecond', { ttlMs: 0.25 }, 250_000],
  ['seven days and a nanosecond less', { ttl: { seconds: 604_799, nanos: 999_999_999 } }, 604_799_999_999_999],
  ['more than seven days', { ttl: { seconds: Number.MAX_SAFE_INTEGER } }, 604_800_000_000_000],
  ['more than seven days in milliseconds', { ttlMs: Infinity }, 604_800_000_000_000],
]) {
  test(`a time to live in ${what} arrives exactly`, async (t) => {
    const { agent, client } = await clientOf(t);
    await client.cacheSet('checkout', { resultCacheKey: 'k' }, { value: 'v', ...time }, ample);
    await client.cacheSet('checkout', { globalCacheKey: 'k' }, { value: 'v', ...time }, ample);
    const { cache_upserts: upserts } = await agent.report();
    assert.equal(upserts[0].result_cache_entry.ttl_ns, nanoseconds);
    assert.equal(upserts[1].global_cache_entries.k.ttl_ns, nanoseconds);
  });
}

test('keys may be names of what objects inherit (S8)', async (t) => {
  const { client } = await clientOf(t);
  const keys = ['hasOwnProperty', '__proto__', 'constructor', 'größe €', 'a\0b'];
  for (const key of keys) {
    await client.cacheSet('checkout', { globalCacheKey: key }, { value: key, ttl: hour }, ample);
  }
  const flow = await client.startFlow('checkout', { ...patient, resultCacheKey: '__proto__', globalCacheKeys: keys });
  for (const key of keys) {
    expectHit(flow.globalCache(key), key);
  }
  expectMiss(flow.globalCache('toString'), 'NO_ANSWER');
  expectMiss(flow.resultCache());
  await flow.end();
});

test('entries are looked up, stored and removed without a flow', async (t) => {
  const { agent, client } = await clientOf(t);
  assert.equal((await client.cacheSet('checkout', { globalCacheKey: 'g' }, { value: 'v', ttlMs: 1e6 })).getError(), null);
  const found = await client.cacheLookup('checkout', { resultCacheKey: 'r', globalCacheKeys: ['g', 'h'] });
  assert.ok(found instanceof CacheLookupResponse);
  assert.equal(found.getError(), null);
  expectMiss(found.resultCache());
  expectHit(found.globalCache('g'), 'v');
  expectMiss(found.globalCache('h'));
  expectMiss(found.globalCache('i'), 'NO_ANSWER');
  assert.equal((await client.cacheDelete('checkout', { globalCacheKey: 'g' })).getError(), null);
  assert.equal((await client.cacheDelete('checkout', { resultCacheKey: 'never there' })).getError(), null);
  expectMiss((await client.cacheLookup('checkout', { globalCacheKeys: ['g'] })).globalCache('g'));
  expectMiss((await client.cacheLookup('checkout', { globalCacheKeys: ['g'] })).resultCache(), 'NO_ANSWER');

  await client.close();
  const report = await agent.report();
  assert.equal(report.cache_lookups[0].control_point, 'checkout');
  assert.equal(report.cache_upserts[0].control_point, 'checkout');
  const deletes = report.cache_deletes.map((call) => [call.control_point, call.result_cache_key, call.global_cache_keys]);
  assert.deepEqual(deletes, [['checkout', '', ['g']], ['checkout', 'never there', []]]);
  assert.ok(report.cache_lookups[0].timeout_ms > 0 && report.cache_lookups[0].timeout_ms <= 1000);
});

test('a flow that was not decided about knows nothing, and says why', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout', { resultCacheKey: 'r', globalCacheKeys: ['g'] });
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  expectMiss(flow.resultCache(), 'UNREACHABLE');
  expectMiss(flow.globalCache('g'), 'UNREACHABLE');
  await flow.end();
  expectMiss(flow.resultCache(), 'UNREACHABLE');
});

test('a flow without keys, and one that was rejected, has no answer rather than a hit (B14)', async (t) => {
  const { client } = await clientOf(t);
  const flow = await client.startFlow('checkout', patient);
  expectMiss(flow.resultCache(), 'NO_ANSWER');
  expectMiss(flow.globalCache('g'), 'NO_ANSWER');
  await flow.end();
  expectMiss(flow.resultCache(), 'NO_ANSWER');

  const { client: rejecting } = await clientOf(t, '--decision', 'reject');
  const rejected = await rejecting.startFlow('checkout', { ...patient, resultCacheKey: 'r', globalCacheKeys: ['g'] });
  expectMiss(rejected.resultCache(), 'NO_ANSWER');
  expectMiss(rejected.globalCache('g'), 'NO_ANSWER');
  await rejected.end();
});

test('what fails at the agent is told by the response and never rejects', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout', { resultCacheKey: 'r' });
  const responses = await Promise.all([
    flow.setResultCache(entry), flow.deleteResultCache(), flow.setGlobalCache('g', entry), flow.deleteGlobalCache('g'),
    client.cacheLookup('checkout', { resultCacheKey: 'r', globalCacheKeys: ['g'] }),
  ]);
  for (const response of responses) {
    assert.equal(response.getError().code, 'UNREACHABLE');
    assert.notEqual(response.getError().message, '');
  }
  expectMiss(responses.at(-1).resultCache(), 'UNREACHABLE');
  expectMiss(responses.at(-1).globalCache('g'), 'UNREACHABLE');
  const { cacheCalls, cacheCallsFailed } = client.stats();
  assert.deepEqual([cacheCalls, cacheCallsFailed], [5, 5]);
  await flow.end();
});

test('what the agent says about one entry is told by the response about it', async (t) => {
  const failed = { operation_status: 'ERROR', error: 'disk full', lookup_status: 'HIT', value: 'AAAA' };
  const lookups = { result_cache_response: failed, global_cache_responses: { bad: failed, good: { value: 'AAAA' } } };
  const { operation_status, error } = failed;
  const changes = { result_cache_response: { operation_status, error }, global_cache_responses: {} };
  const { client } = await clientOfScript(t, {
    check: [{ response: { cache_lookup_response: lookups } }],
    cache_lookup: [{ response: lookups }],
    cache_upsert: [{ response: changes }],
    cache_delete: [{ response: changes }],
  });
  const keys = { resultCacheKey: 'r', globalCacheKeys: ['bad', 'good', 'forgotten'] };
  const flow = await client.startFlow('checkout', { ...patient, ...keys });
  for (const source of [flow, await client.cacheLookup('checkout', keys, ample)]) {
    expectMiss(source.resultCache(), 'AGENT');
    assert.match(source.resultCache().getError().message, /disk full/);
    expectMiss(source.globalCache('bad'), 'AGENT');
    expectHit(source.globalCache('good'), [0, 0, 0]);
    expectMiss(source.globalCache('forgotten'), 'NO_ANSWER');
  }
  for (const response of [await flow.setResultCache(entry, ample), await flow.deleteResultCache(ample)]) {
    assert.equal(response.getError().code, 'AGENT');
    assert.match(response.getError().message, /disk full/);
  }
  // That nothing is said about an entry is no success.
  for (const response of [await flow.setGlobalCache('g', entry, ample), await flow.deleteGlobalCache('g', ample)]) {
    assert.equal(response.getError().code, 'AGENT');
  }
  await flow.end();
  assert.equal(client.stats().cacheCallsFailed, 4);
});

test('an agent that does not answer in time, or with an error, is told by the response', async (t) => {
  const troubles = [{ hang: true }, { error: 'RESOURCE_EXHAUSTED', message: 'too large' }];
  const { client } = await clientOfScript(t, {
    cache_lookup: troubles, cache_upsert: troubles, cache_delete: troubles,
  });
  for (const message of [/timeout|deadline/i, /too large/]) {
    const timeoutMs = message.source === 'too large' ? AMPLE_MS : 50;
    for (const response of [
      await client.cacheLookup('checkout', { resultCacheKey: 'r' }, { timeoutMs }),
      await client.cacheSet('checkout', { resultCacheKey: 'r' }, { value: 'v', ttl: hour }, { timeoutMs }),
      await client.cacheDelete('checkout', { resultCacheKey: 'r' }, { timeoutMs }),
    ]) {
      assert.equal(response.getError().code, 'UNREACHABLE');
      assert.match(response.getError().message, message);
    }
  }
});

test('over the limit of pending calls the response says so, and nothing rejects', async (t) => {
  const agent = await startScriptedAgent(t, { cache_lookup: [{ hang: true }] });
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, maxPendingCalls: 1 });
  await client.waitReady(AMPLE_MS);
  const waiting = client.cacheLookup('checkout', { resultCacheKey: 'r' }, ample);
  const response = await client.cacheLookup('checkout', { resultCacheKey: 'r' }, ample);
  assert.equal(response.getError().code, 'RESOURCE_EXHAUSTED');
  expectMiss(response.resultCache(), 'RESOURCE_EXHAUSTED');
  await client.close();
  assert.equal((await waiting).getError().code, 'UNREACHABLE');
});

test('without a result cache key there is nothing to store or remove (S9)', async (t) => {
  const { agent, client } = await clientOf(t);
  const flow = await client.startFlow('checkout', patient);
  for (const response of [await flow.setResultCache({ value: 'v', ttl: hour }), await flow.deleteResultCache()]) {
    assert.equal(response.getError().code, 'NO_ANSWER');
    assert.match(response.getError().message, /resultCacheKey/);
  }
  await assert.rejects(flow.setResultCache({ value: 'v' }), { code: 'INVALID_ARGUMENT', message: /entry\.ttl/ });
  await flow.end();
  await client.close();
  const { cache_upsert_count: upserts, cache_delete_count: deletes } = await agent.report();
  assert.deepEqual([upserts, deletes], [0, 0]);
});

test('values can be stored after the end of the flow, and not after the close of the client', async (t) => {
  const { client } = await clientOf(t);
  const flow = await client.startFlow('checkout', { ...patient, resultCacheKey: 'r' });
  await flow.end();
  assert.equal((await flow.setResultCache({ value: 'v', ttl: hour }, ample)).getError(), null);
  await client.close();
  await assert.rejects(flow.setResultCache({ value: 'v', ttl: hour }), { code: 'CLOSED' });
  await assert.rejects(flow.deleteGlobalCache('g'), { code: 'CLOSED' });
  await assert.rejects(client.cacheLookup('checkout', { resultCacheKey: 'r' }), { code: 'CLOSED' });
});

test("upstream's deadline bounds a call, and a used one is refused", async (t) => {
  const { agent, client } = await clientOf(t);
  const flow = await client.startFlow('checkout', { ...patient, resultCacheKey: 'r' });
  await flow.setResultCache({ value: 'v', ttl: hour }, { deadline: Date.now() + 3_600_000 });
  await flow.deleteResultCache({ deadline: new Date(Date.now() + 3_600_000) });
  await flow.deleteGlobalCache('g', { timeoutMs: 0 });
  await assert.rejects(flow.deleteResultCache({ deadline: Date.now() - 1 }), {
    code: 'INVALID_ARGUMENT', message: /options\.deadline must be a time in the future.*timeoutMs/,
  });
  await flow.end();
  await client.close();
  const { cache_upserts: [upsert], cache_deletes: [remove, unlimited] } = await agent.report();
  for (const { timeout_ms: timeout } of [upsert, remove]) {
    assert.ok(timeout > 3_000_000 && timeout <= 3_600_000, `${timeout}`);
  }
  assert.ok(unlimited.timeout_ms > 86_000_000, `${unlimited.timeout_ms}`);
});

for (const [what, call, message] of [
  ['no entry', (flow) => flow.setResultCache(), /^entry must be an object/],
  ['no value', (flow) => flow.setResultCache({ ttl: hour }), /^entry\.value must be a Buffer/],
  ['a number for a value', (flow) => flow.setResultCache({ value: 7, ttl: hour }), /^entry\.value.*type number/],
  ['an array for a value', (flow) => flow.setResultCache({ value: [1], ttl: hour }), /^entry\.value.*an array/],
  ['a value with a lone surrogate', (flow) => flow.setResultCache({ value: 'a\ud800', ttl: hour }), /^entry\.value/],
  [
    'a value over the limit', (flow) => flow.setResultCache({ value: Buffer.alloc(4_000_001), ttl: hour }),
    /^entry\.value.*4000000.*4000001/,
  ],
  [
    'a value over the limit with its key', (flow) => flow.setResultCache({ value: Buffer.alloc(4_000_000), ttl: hour }),
    /value.*4000000/,
  ],
  [
    'a text over the limit in UTF-8', (flow) => flow.setResultCache({ value: '€'.repeat(2_000_000), ttl: hour }),
    /value.*4000000/,
  ],
  ['no time to live', (flow) => flow.setResultCache({ value: 'v' }), /^entry\.ttl .*give one/],
  ['two times to live', (flow) => flow.setResultCache({ value: 'v', ttl: hour, ttlMs: 5 }), /^entry\.ttl .*give one/],
  ['an empty time to live', (flow) => flow.setResultCache({ value: 'v', ttl: {} }), /^entry\.ttl must be more than 0/],
  [
    'a time to live of 0', (flow) => flow.setResultCache({ value: 'v', ttl: { seconds: '0' } }),
    /^entry\.ttl must be more/,
  ],
  [
    'a negative time to live', (flow) => flow.setResultCache({ value: 'v', ttl: { seconds: -1 } }),
    /^entry\.ttl\.seconds.*not -1/,
  ],
  [
    'half a second', (flow) => flow.setResultCache({ value: 'v', ttl: { seconds: 0.5 } }),
    /^entry\.ttl\.seconds.*not 0\.5/,
  ],
  [
    'too many nanoseconds', (flow) => flow.setResultCache({ value: 'v', ttl: { nanos: 1e9 } }),
    /^entry\.ttl\.nanos.*999999999/,
  ],
  [
    'a word for seconds', (flow) => flow.setResultCache({ value: 'v', ttl: { seconds: 'ten' } }),
    /^entry\.ttl\.seconds/,
  ],
  [
    'a number for a time to live', (flow) => flow.setResultCache({ value: 'v', ttl: 60 }),
    /^entry\.ttl must be an object/,
  ],
  [
    'minutes', (flow) => flow.setResultCache({ value: 'v', ttl: { minutes: 1 } }),
    /^entry\.ttl\.minutes.*seconds, nanos/,
  ],
  ['0 milliseconds', (flow) => flow.setResultCache({ value: 'v', ttlMs: 0 }), /^entry\.ttlMs must be more than 0/],
  ['NaN milliseconds', (flow) => flow.setResultCache({ value: 'v', ttlMs: NaN }), /^entry\.ttlMs/],
  ['an unknown part of an entry', (flow) => flow.setResultCache({ ...entry, TTL: 5 }), /^entry\.TTL.*ttlMs/],
  ['a string for options', (flow) => flow.deleteResultCache('now'), /^options must be an object/],
  ['an unknown option', (flow) => flow.deleteResultCache({ timeout: 5 }), /^options\.timeout:.*timeoutMs/],
  ['a negative timeout', (flow) => flow.deleteResultCache({ timeoutMs: -1 }), /^options\.timeoutMs.*not -1/],
  ['two timeouts', (flow) => flow.deleteResultCache({ timeoutMs: 1, deadline: Infinity }), /give one of them/],
  ['no key', (flow) => flow.setGlobalCache(undefined, entry), /^key must be a string/],
  ['an empty key', (flow) => flow.setGlobalCache('', entry), /^key must not be empty/],
  ['a lone surrogate in a key', (flow) => flow.deleteGlobalCache('a\ud800'), /^key must be valid Unicode/],
  ['a number for a control point', (_, client) => client.cacheLookup(7, { resultCacheKey: 'k' }), /^controlPoint/],
  ['an empty control point', (_, client) => client.cacheLookup('', { resultCacheKey: 'k' }), /control point is empty/],
  ['no keys', (_, client) => client.cacheLookup('checkout'), /^keys must be an object/],
  ['an object without keys', (_, client) => client.cacheLookup('checkout', {}), /cache keys are missing/],
  ['an unknown kind of keys', (_, client) => client.cacheLookup('checkout', { keys: [] }), /^keys\.keys/],
  ['a string for the key', (_, client) => client.cacheSet('checkout', 'k', entry), /^key must be an object/],
  ['two keys', (_, client) => client.cacheDelete('checkout', { resultCacheKey: 'k', globalCacheKey: 'k' }), /give one/],
  ['a key without text', (_, client) => client.cacheDelete('checkout', { resultCacheKey: '' }), /^key\.resultCacheKey/],
]) {
  test(`${what} is refused by the caches`, async (t) => {
    const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
    const flow = await client.startFlow('checkout', { resultCacheKey: 'r' });
    await assert.rejects(call(flow, client), { name: 'ApertureError', code: 'INVALID_ARGUMENT', message });
    assert.equal(client.stats().cacheCalls, 0);
    await flow.end();
  });
}

test('reading under a key that is no text is refused', async (t) => {
  const { client } = await clientOf(t);
  const flow = await client.startFlow('checkout', patient);
  assert.throws(() => flow.globalCache(7), { code: 'INVALID_ARGUMENT', message: /^key must be a string/ });
  await flow.end();
});

test('many calls at once each get their own answer', async (t) => {
  const { client } = await clientOf(t);
  const keys = Array.from({ length: 200 }, (_, i) => `key-${i}`);
  const store = (key) => client.cacheSet('checkout', { globalCacheKey: key }, { value: key, ttl: hour }, ample);
  await Promise.all(keys.map(store));
  const found = await Promise.all(keys.map((key) => client.cacheLookup('checkout', { globalCacheKeys: [key] }, ample)));
  for (const [i, key] of keys.entries()) {
    expectHit(found[i].globalCache(key), key);
  }
  assert.equal(client.stats().callsPending, 0);
});
