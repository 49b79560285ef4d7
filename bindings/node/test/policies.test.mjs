// The policies of a client with a local: address: flows that wait, reload, and what the engine has counted.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { ApertureClient } from '../index.mjs';
import { AMPLE_MS, closedAddress, leavesNoHandle, openClient, temporaryDirectory } from './support.mjs';

leavesNoHandle();

const ONE_AT_A_TIME = `blueprint: concurrency-scheduling/base
policy:
  policy_name: one-at-a-time
  concurrency_scheduler:
    max_concurrency: 1
    concurrency_limiter: {max_inflight_duration: 3600s}
    selectors: [{control_point: checkout}]
`;

/** A client in whose policy flows wait for each other, and the policy's file. */
function oneAtATime(t) {
  const file = path.join(temporaryDirectory(t), 'policies.yaml');
  fs.writeFileSync(file, ONE_AT_A_TIME);
  return { file, client: openClient(t, ApertureClient, { address: `local:${file}` }) };
}

test('reload and snapshot', async (t) => {
  const { file, client } = oneAtATime(t);
  const flow = await client.startFlow('checkout');
  fs.writeFileSync(file, 'nonsense');
  assert.throws(() => client.reload(), (error) => error.code === 'POLICY' && error.message.includes(`${file}:1:1: `));
  fs.writeFileSync(file, `${ONE_AT_A_TIME}# nothing has changed\n`);
  client.reload();
  const [component] = client.snapshot().components;
  assert.equal(component.kind, 'concurrency_scheduler');
  assert.equal(component.in_flight.flows, 1);
  await flow.end();
  assert.equal(client.snapshot().components[0].in_flight.flows, 0);
  assert.equal(client.snapshot().reloads, 1);
});

test('the bounds of the engine are those of the options', async (t) => {
  const file = path.join(temporaryDirectory(t), 'policies.yaml');
  fs.writeFileSync(file, ONE_AT_A_TIME.replace('{max_inflight', '{limit_by_label_key: user, max_inflight'));
  const client = openClient(t, ApertureClient, {
    address: `local:${file}`, maxLabels: 1, maxWaiting: 1, cacheBytes: 2 ** 20,
  });
  const start = (user) => client.startFlow('checkout', { labels: { user }, checkTimeoutMs: AMPLE_MS });
  await (await start('alice')).end();
  const running = await start('bob');
  const waiting = start('bob');
  const full = await start('bob');
  assert.equal(full.shouldRun(), false);
  const [{ labels, evicted, queue }] = client.snapshot().components;
  assert.deepEqual({ labels, evicted, full: queue.full, waiting: queue.waiting }, { labels: 1, evicted: 1, full: 1, waiting: 1 });
  for (const key of ['1', '2', '3']) {
    const stored = await running.setGlobalCache(key, { value: Buffer.alloc(400 * 1024), ttlMs: AMPLE_MS });
    assert.equal(stored.getError(), null);
  }
  assert.equal(client.snapshot().cache.evicted, 1);
  await full.end();
  await running.end();
  await (await waiting).end();
});

test('a client of an agent has no policies', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  assert.throws(() => client.reload(), { code: 'INVALID_ARGUMENT', message: /only a client with a "local:" address/ });
  assert.throws(() => client.snapshot(), { code: 'INVALID_ARGUMENT' });
});

test('starts wait for their turn, and the event loop goes on', async (t) => {
  const { client } = oneAtATime(t);
  const first = await client.startFlow('checkout');
  const order = [];
  const abort = new AbortController();
  const others = Array.from({ length: 50 }, async (_, number) => {
    const flow = await client.startFlow('checkout', {
      checkTimeoutMs: AMPLE_MS, signal: number === 10 ? abort.signal : undefined,
    });
    assert.equal(flow.decision(), 'Accepted');
    order.push(number);
    await flow.end();
  });
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.deepEqual(order, []);
  abort.abort();
  await assert.rejects(others[10], { name: 'AbortError' });
  await first.end();
  await Promise.allSettled(others);
  assert.deepEqual(order, [...Array(50).keys()].filter((number) => number !== 10));
  assert.equal(client.snapshot().components[0].in_flight.flows, 0);
});

test('a start that has waited long enough is rejected', async (t) => {
  const { client } = oneAtATime(t);
  const first = await client.startFlow('checkout');
  const second = await client.startFlow('checkout', { checkTimeoutMs: 50 });
  assert.equal(second.decision(), 'Rejected');
  assert.equal(second.httpResponseCode(), 503);
  await second.end();
  await first.end();
});
