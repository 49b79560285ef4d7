// Calls that are given up by an AbortSignal.

import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';

import { ApertureClient } from '../index.mjs';
import {
  AMPLE_MS, HANG_MS, closedAddress, leavesNoHandle, openClient, runModule, startFakeAgent, startScriptedAgent, until,
} from './support.mjs';

leavesNoHandle();

const patient = { checkTimeoutMs: 10 * HANG_MS };
const ample = { timeoutMs: 10 * HANG_MS };

const hang = [{ hang: true }];
const hanging = { check: hang, cache_lookup: hang, cache_upsert: hang, cache_delete: hang };

/** How many calls an agent was asked. */
const asked = (report) =>
  report.check_count + report.cache_lookup_count + report.cache_upsert_count + report.cache_delete_count;

const calls = {
  startFlow: (client, signal) => client.startFlow('checkout', { ...patient, signal }),
  cacheLookup: (client, signal) => client.cacheLookup('checkout', { resultCacheKey: 'r' }, { ...ample, signal }),
  cacheSet: (client, signal) =>
    client.cacheSet('checkout', { resultCacheKey: 'r' }, { value: 'v', ttlMs: 5 }, { ...ample, signal }),
  cacheDelete: (client, signal) => client.cacheDelete('checkout', { globalCacheKey: 'g' }, { ...ample, signal }),
};

for (const [name, call] of Object.entries(calls)) {
  test(`an abort ends ${name} at once, and at the agent`, async (t) => {
    const agent = await startScriptedAgent(t, hanging);
    const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
    await client.waitReady(AMPLE_MS);
    const controller = new AbortController();
    const reason = new Error('the user has left');
    const pending = call(client, controller.signal);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 1);
    const rejected = assert.rejects(pending, (error) => error === reason);
    await until(async () => asked(await agent.look()) === 1);
    controller.abort(reason);
    assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
    await rejected;
    await until(() => client.stats().callsPending === 0); // it was cancelled: its own time is far away
  });

  test(`${name} asks nothing when the signal is aborted already`, async (t) => {
    const agent = await startFakeAgent(t);
    const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
    await client.waitReady(AMPLE_MS);
    const signal = AbortSignal.abort();
    await assert.rejects(call(client, signal), (error) => error === signal.reason && error.name === 'AbortError');
    assert.equal(getEventListeners(signal, 'abort').length, 0);
    await client.close();
    assert.equal(asked(await agent.report()), 0);
  });
}

test('the agent sees that a check was cancelled', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const controllers = Array.from({ length: 20 }, () => new AbortController());
  const pending = controllers.map(({ signal }) => client.startFlow('checkout', { ...patient, signal }));
  const settled = Promise.allSettled(pending);
  await until(async () => (await agent.look()).check_count === controllers.length);
  controllers.forEach((controller) => controller.abort());
  assert.ok((await settled).every(({ reason }) => reason.name === 'AbortError'));
  await until(async () => (await agent.look()).cancelled_count === controllers.length);
});

test('a flow that was decided in spite of an abort is ended, and its tokens go back', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const controller = new AbortController();
  const count = 20;
  const settled = Promise.allSettled(
    Array.from({ length: count }, () => client.startFlow('checkout', { ...patient, signal: controller.signal })),
  );
  while (client.stats().flowsAccepted < count); // the event loop takes no completion meanwhile
  controller.abort();
  assert.ok((await settled).every(({ reason }) => reason?.name === 'AbortError'));
  await until(async () => (await agent.look()).flow_end_count === count);
  const { flowsEnded, flowsNeverEnded } = client.stats();
  assert.deepEqual({ flowsEnded, flowsNeverEnded }, { flowsEnded: count, flowsNeverEnded: 0 });
  await client.close();
  const report = await agent.report();
  assert.equal(new Set(report.flow_ends.flatMap((end) => end.request_ids)).size, count);
  assert.deepEqual(report.spans.map((span) => span.attributes['aperture.flow.status']), Array(count).fill('Error'));
});

test('one of the calls that share a signal may end before the abort', async (t) => {
  const agent = await startScriptedAgent(t, { check: [{}, { hang: true }] });
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const controller = new AbortController();
  const { signal } = controller;
  const decided = await client.startFlow('checkout', { ...patient, signal });
  const start = () => client.startFlow('checkout', { ...patient, signal });
  const waiting = [start(), start()];
  assert.equal(getEventListeners(signal, 'abort').length, 1);
  controller.abort();
  for (const pending of waiting) {
    await assert.rejects(pending, { name: 'AbortError' });
  }
  assert.equal(decided.shouldRun(), true);
  await decided.end();
});

test('waiting for readiness ends with an abort', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const signal = AbortSignal.timeout(20);
  await assert.rejects(client.waitReady(10 * HANG_MS, { signal }), { name: 'TimeoutError' });
  await assert.rejects(client.waitReady(10 * HANG_MS, { signal }), { name: 'TimeoutError' });
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  await until(() => client.stats().callsPending === 0);
});

test('a decision that is had at once is not given up', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const controller = new AbortController();
  const pending = client.startFlow('checkout', { signal: controller.signal });
  controller.abort();
  const flow = await pending;
  assert.equal(flow.shouldRun(), true);
  await flow.end();
});

test('wrong arguments are told of before an abort', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const signal = AbortSignal.abort();
  await assert.rejects(client.startFlow('checkout', { signal, labels: 5 }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(client.waitReady(-1, { signal }), { code: 'INVALID_ARGUMENT' });
});

test('a signal without a reason, and one of another kind, are followed', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const signal = Object.assign(new EventTarget(), { aborted: false, reason: 'enough' });
  const rejected = assert.rejects(client.startFlow('checkout', { ...patient, signal }), (reason) => reason === 'enough');
  signal.dispatchEvent(new Event('abort'));
  await rejected;
});

test('a signal that lives long keeps nothing of 10,000 calls', async (t) => {
  const agent = await startFakeAgent(t);
  const output = await runModule(
    `
    import { getEventListeners } from 'node:events';
    const client = new ApertureClient({ address: process.argv[1], insecure: true });
    await client.waitReady(${AMPLE_MS});
    const { signal } = new AbortController();
    let most = 0;
    for (let i = 0; i < 100; i++) {
      const flows = Array.from({ length: 100 }, () =>
        client.startFlow('checkout', { signal, checkTimeoutMs: ${10 * HANG_MS} }));
      most = Math.max(most, getEventListeners(signal, 'abort').length);
      await Promise.all((await Promise.all(flows)).map((flow) => flow.end()));
    }
    console.log(most, getEventListeners(signal, 'abort').length);
    await client.close();
    `,
    { args: [agent.address], hangMs: 5 * HANG_MS },
  );
  assert.equal(output, '1 0\n');
});
