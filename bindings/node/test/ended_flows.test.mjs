// What can be read of a flow after its end, and how long.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { ApertureClient } from '../index.mjs';
import { liveHandles } from './live_handles.cjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, openClient, startFakeAgent, startScriptedAgent,
} from './support.mjs';

leavesNoHandle();

const { KEPT_BYTES, KEPT_FLOWS } = createRequire(import.meta.url)('../lib/ended_flows.cjs');

const patient = { checkTimeoutMs: AMPLE_MS };
const GONE = { name: 'ApertureError', code: 'ALREADY_ENDED', message: new RegExp(`too late.* last ${KEPT_FLOWS} ended flows`) };

async function endedFlows(client, count, params) {
  const flows = [];
  for (let i = 0; i < count; i++) {
    const flow = await client.startFlow('checkout', params);
    await flow.end();
    flows.push(flow);
  }
  return flows;
}

/** Everything that can be read of a flow. */
const contentsOf = (flow) => ({
  checkResponse: flow.checkResponse(),
  shouldRun: flow.shouldRun(),
  decision: flow.decision(),
  rejectReason: flow.rejectReason(),
  unreachableReason: flow.unreachableReason(),
  httpResponseCode: flow.httpResponseCode(),
  retryAfter: flow.retryAfter(),
  error: flow.error()?.message,
  caches: [flow.resultCache(), flow.globalCache('g'), flow.globalCache('h'), flow.globalCache('other')].map(
    (found) => [found.getLookupStatus(), found.getValue(), found.getError()?.code],
  ),
});

const answers = {
  accepted: {
    limiter_decisions: [{ policy_name: 'p', concurrency_limiter_info: { request_id: 'r' } }],
    cache_lookup_response: {
      result_cache_response: { value: '/wCA', lookup_status: 'HIT' },
      global_cache_responses: { g: { lookup_status: 'MISS' }, h: { operation_status: 'ERROR', error: 'no' } },
    },
  },
  rejected: {
    decision_type: 'DECISION_TYPE_REJECTED', reject_reason: 'REJECT_REASON_RATE_LIMITED', wait_time: '1.5s',
    denied_response_status_code: 'PaymentRequired', limiter_decisions: [{ policy_name: 'p', dropped: true }],
  },
  empty: {},
};

for (const [what, response] of Object.entries(answers)) {
  test(`all of a flow can be read for the first time after its end, where the answer is ${what}`, async (t) => {
    const agent = await startScriptedAgent(t, { check: [{ response }] });
    const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
    await client.waitReady(AMPLE_MS);
    const params = { ...patient, resultCacheKey: 'r', globalCacheKeys: ['g', 'h'] };
    const before = await client.startFlow('checkout', params);
    const expected = contentsOf(before);
    assert.equal(expected.checkResponse.limiterDecisions.length, what === 'empty' ? 0 : 1);
    const [flow] = await endedFlows(client, 1, params);
    assert.deepEqual(contentsOf(flow), expected);
    assert.equal(flow.checkResponse(), flow.checkResponse());
    await before.end();
    assert.deepEqual(contentsOf(before), expected);
  });
}

test('all of a flow about which nothing was decided can be read after its end', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const params = { resultCacheKey: 'r', globalCacheKeys: ['g', 'h'], rampMode: true };
  const before = await client.startFlow('checkout', params);
  const expected = contentsOf(before);
  assert.equal(expected.decision, 'Unreachable');
  const [flow] = await endedFlows(client, 1, params);
  assert.deepEqual(contentsOf(flow), expected);
  await before.end();
});

test('an answer can be read while the end waits for the agent', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  const ending = flow.end();
  assert.equal(flow.checkResponse().limiterDecisions.length, 1);
  assert.equal((await ending).getError(), null);
});

test('an answer is kept while as many flows end as a client keeps, and what was read stays', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const [read, unread, last] = [await client.startFlow('checkout'), ...(await endedFlows(client, 2))];
  const answer = read.checkResponse();
  await read.end();
  assert.equal(liveHandles(), 1 + 2, 'the handle of what was read is closed');

  await endedFlows(client, KEPT_FLOWS - 1);
  assert.equal(liveHandles(), 1 + KEPT_FLOWS);
  assert.throws(() => unread.checkResponse(), GONE);
  assert.throws(() => unread.checkResponse(), GONE);
  assert.equal(unread.shouldRun(), true);
  assert.equal(last.checkResponse().controlPoint, 'checkout');

  await endedFlows(client, 1);
  assert.equal(liveHandles(), 1 + KEPT_FLOWS);
  assert.equal(last.checkResponse().controlPoint, 'checkout');
  assert.equal(read.checkResponse(), answer);
});

test('each client keeps its own flows', async (t) => {
  const one = openClient(t, ApertureClient, { address: 'local:' });
  const other = openClient(t, ApertureClient, { address: 'local:' });
  const [flow] = await endedFlows(one, 1);
  await endedFlows(other, KEPT_FLOWS + 1);
  assert.equal(liveHandles(), 2 + 1 + KEPT_FLOWS);
  await other.close();
  assert.equal(liveHandles(), 1 + 1);
  assert.equal(flow.checkResponse().controlPoint, 'checkout');
});

test('the answers of flows with large labels are kept for less long', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const size = 2 ** 20;
  const kept = KEPT_BYTES / size - 1; // the control point and the key have no room any more
  const flows = await endedFlows(client, kept + 3, { labels: { large: 'x'.repeat(size) } });
  assert.equal(liveHandles(), 1 + kept);
  assert.throws(() => flows[2].checkResponse(), GONE);
  for (const flow of flows.slice(3)) {
    assert.equal(flow.checkResponse().telemetryFlowLabels.large.length, size);
  }
  await endedFlows(client, KEPT_FLOWS);
  assert.equal(liveHandles(), 1 + KEPT_FLOWS);
});

test('the answers of flows with large values in the caches are kept for less long, the values for ever', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const value = Buffer.alloc(1_000_000, 'v');
  const entry = { value, ttlMs: 3_600_000 };
  await client.cacheSet('checkout', { resultCacheKey: 'r' }, entry, { timeoutMs: AMPLE_MS });
  await client.cacheSet('checkout', { globalCacheKey: 'g' }, entry, { timeoutMs: AMPLE_MS });
  const kept = 8; // of 2 MB
  const flows = await endedFlows(client, kept + 1, { ...patient, resultCacheKey: 'r', globalCacheKeys: ['g', 'h'] });
  assert.equal(liveHandles(), 1 + kept);
  assert.throws(() => flows[0].checkResponse(), GONE);
  assert.deepEqual(flows[1].checkResponse().cacheLookupResponse.resultCacheResponse.value, value);
  for (const flow of flows) {
    assert.deepEqual([flow.resultCache().getValue(), flow.globalCache('g').getValue()], [value, value]);
    assert.equal(flow.globalCache('h').getValue(), null);
  }
});

test('a closed client keeps nothing, of flows that end later neither', async () => {
  const client = new ApertureClient({ address: 'local:' });
  const late = await client.startFlow('checkout');
  const [read, unread] = await endedFlows(client, 2);
  const answer = read.checkResponse();
  const closing = client.close();
  assert.equal(unread.decision(), 'Accepted');
  await closing;
  assert.equal(liveHandles(), 1);
  assert.equal(read.checkResponse(), answer);
  assert.throws(() => unread.checkResponse(), GONE);
  assert.equal((await late.end()).getError(), null);
  assert.equal(liveHandles(), 0);
  assert.throws(() => late.checkResponse(), GONE);
});
