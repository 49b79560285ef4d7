// Flows that are decided by a policy file: in this process, and by aperture-local over gRPC. The address is the only
// difference, so both are held to the same expectations.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { ApertureClient, FlowDecision, FlowStatus, RejectReason } from '../index.mjs';
import {
  AMPLE_MS, leavesNoHandle, makeCertificates, openClient, policyFile, startApertureLocal, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

/** Sees that users have two flows each, and are then told to wait for the rest of the hour. */
async function expectTwoFlowsPerUser(client) {
  await client.waitReady(AMPLE_MS);
  for (const user of ['alice', 'bob']) {
    const flows = [];
    for (let i = 0; i < 3; i++) {
      flows.push(await client.startFlow('checkout', { labels: { user_id: user }, checkTimeoutMs: AMPLE_MS }));
    }
    assert.deepEqual(flows.map((flow) => flow.decision()), ['Accepted', 'Accepted', 'Rejected']);
    assert.deepEqual(flows.map((flow) => flow.shouldRun()), [true, true, false]);
    const rejected = flows[2];
    assert.equal(rejected.rejectReason(), RejectReason.RateLimited);
    assert.equal(rejected.httpResponseCode(), 402);
    assert.equal(rejected.error(), null);
    const wait = rejected.retryAfter();
    assert.ok(wait.seconds > 3500 && wait.seconds <= 3600 && wait.nanos >= 0 && wait.nanos < 1e9, JSON.stringify(wait));
    for (const flow of flows) {
      flow.setStatus(FlowStatus.OK);
      assert.equal((await flow.end()).getError(), null);
    }
  }
  const elsewhere = await client.startFlow('search', { labels: { user_id: 'alice' }, checkTimeoutMs: AMPLE_MS });
  assert.equal(elsewhere.decision(), FlowDecision.Accepted);
  await elsewhere.end();
  const { flowsAccepted, flowsRejected, flowsUnreachable, flowsEnded, callsPending } = client.stats();
  assert.deepEqual([flowsAccepted, flowsRejected, flowsUnreachable, flowsEnded, callsPending], [5, 2, 0, 7, 0]);
}

const limited = { capacity: 2, interval: '3600s', denied: 'PaymentRequired' };

test('in this process', async (t) => {
  await expectTwoFlowsPerUser(openClient(t, ApertureClient, { address: `local:${policyFile(t, limited)}` }));
});

test('in this process without a policy everything is accepted', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  for (let i = 0; i < 5; i++) {
    const flow = await client.startFlow('checkout', { labels: { user_id: 'alice' } });
    assert.equal(flow.decision(), FlowDecision.Accepted);
    await flow.end();
  }
});

test('a decision in this process needs no turn of the event loop', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  const flow = await client.startFlow('checkout');
  await flow.end();
  assert.equal(turned, false);
});

test('by aperture-local', async (t) => {
  const { address } = await startApertureLocal(t, policyFile(t, limited));
  await expectTwoFlowsPerUser(openClient(t, ApertureClient, { address, insecure: true }));
});

test('by aperture-local with TLS and an API key', async (t) => {
  const certificates = await makeCertificates(t);
  const keyFile = path.join(temporaryDirectory(t), 'api-key');
  fs.writeFileSync(keyFile, 'secret\n', { mode: 0o600 });
  const { address } = await startApertureLocal(
    t, policyFile(t, limited),
    '--tls-cert', path.join(certificates, 'server.pem'), '--tls-key', path.join(certificates, 'server-key.pem'),
    '--require-api-key-file', keyFile,
  );
  const options = { address, caFile: path.join(certificates, 'ca.pem') };
  const keyless = openClient(t, ApertureClient, options);
  const denied = await keyless.startFlow('checkout', { checkTimeoutMs: AMPLE_MS });
  assert.equal(denied.decision(), FlowDecision.Unreachable);
  assert.equal(keyless.stats().unreachableMisconfigured, 1);
  await denied.end();
  await expectTwoFlowsPerUser(openClient(t, ApertureClient, { ...options, apiKey: 'secret' }));
});

test('two clients of aperture-local share its buckets', async (t) => {
  const { address } = await startApertureLocal(t, policyFile(t, limited));
  const decisions = [];
  for (let i = 0; i < 3; i++) {
    const client = openClient(t, ApertureClient, { address, insecure: true });
    await client.waitReady(AMPLE_MS);
    const flow = await client.startFlow('checkout', { labels: { user_id: 'alice' }, checkTimeoutMs: AMPLE_MS });
    decisions.push(flow.decision());
    await flow.end();
  }
  assert.deepEqual(decisions, ['Accepted', 'Accepted', 'Rejected']);
});
