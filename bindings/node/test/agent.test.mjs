// Flows that an agent decides over gRPC, and flows that no agent decides.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';

import {
  ApertureClient, ApertureError, Flow, FlowDecision, FlowStatus, RejectReason, UnreachableReason,
} from '../index.mjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, makeCertificates, openClient, startFakeAgent,
} from './support.mjs';

leavesNoHandle();

const patient = { checkTimeoutMs: AMPLE_MS };

test('an accepted flow runs, ends and is told to the agent', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, userAgent: 'shop/1.2' });
  await client.waitReady(AMPLE_MS);

  const flow = await client.startFlow('checkout', { ...patient, labels: { user_id: 'alice', tier: 'gold' } });
  assert.ok(flow instanceof Flow);
  assert.equal(flow.shouldRun(), true);
  assert.equal(flow.decision(), FlowDecision.Accepted);
  assert.equal(flow.rejectReason(), RejectReason.None);
  assert.equal(flow.httpResponseCode(), 200);
  assert.equal(flow.retryAfter(), null);
  assert.equal(flow.error(), null);
  flow.setStatus(FlowStatus.Error);
  const end = await flow.end();
  assert.equal(end.getError(), null);
  assert.equal(end.getResponse(), null);
  await client.close();

  const report = await agent.report();
  assert.equal(report.check_count, 1);
  assert.equal(report.checks[0].control_point, 'checkout');
  assert.deepEqual(report.checks[0].labels, { user_id: 'alice', tier: 'gold' });
  assert.equal(report.checks[0].ramp_mode, false);
  assert.ok(report.checks[0].timeout_ms > 0 && report.checks[0].timeout_ms <= AMPLE_MS);
  assert.equal(report.span_count, 1);
  assert.equal(report.spans[0].attributes['aperture.flow.status'], 'Error');
  assert.match(report.user_agents[0], /^shop\/1\.2 /);
});

test('a check without a timeout gets the default of 200 ms', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  await (await client.startFlow('checkout')).end();
  await client.close();
  const [{ timeout_ms: timeout }] = (await agent.report()).checks;
  assert.ok(timeout > 0 && timeout <= 200, `${timeout}`);
});

test('no deadline means the longest that the library knows', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const unlimited = [{ checkTimeoutMs: 0 }, { checkTimeoutMs: Infinity }, { checkTimeoutMs: 1e300 }];
  for (const params of [...unlimited, { grpcCallOptions: { deadline: Infinity } }]) {
    await (await client.startFlow('checkout', params)).end();
  }
  await client.close();
  const day = 24 * 3600 * 1000;
  for (const { timeout_ms: timeout } of (await agent.report()).checks) {
    assert.ok(timeout > day - 60_000 && timeout <= day, `${timeout}`);
  }
});

test("upstream's deadline is understood, and a used one is refused (S7)", async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const params = Object.freeze({
    labels: Object.freeze({ user_id: 'alice' }),
    grpcCallOptions: Object.freeze({ deadline: Date.now() + 3_600_000 }),
    tryConnect: false,
  });
  await (await client.startFlow('checkout', params)).end();
  await (await client.startFlow('checkout', { grpcCallOptions: { deadline: new Date(Date.now() + 3_600_000) } })).end();
  for (const deadline of [Date.now() - 1, new Date(0), 0, -Infinity, NaN, new Date(NaN), '2030-01-01', 5n]) {
    await assert.rejects(client.startFlow('checkout', { grpcCallOptions: { deadline } }), {
      code: 'INVALID_ARGUMENT', message: /grpcCallOptions\.deadline must be/,
    });
  }
  await assert.rejects(client.startFlow('checkout', { checkTimeoutMs: 5, grpcCallOptions: { deadline: Infinity } }), {
    code: 'INVALID_ARGUMENT', message: /give one of them/,
  });
  await client.close();
  const { checks } = await agent.report();
  assert.equal(checks.length, 2);
  for (const { timeout_ms: timeout } of checks) {
    assert.ok(timeout > 3_000_000 && timeout <= 3_600_000, `${timeout}`);
  }
});

test('a rejected flow says why and how long to wait', async (t) => {
  const agent = await startFakeAgent(t, '--decision', 'reject', '--status', '402', '--wait-time', '90061.5s');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  assert.equal(flow.shouldRun(), false);
  assert.equal(flow.decision(), FlowDecision.Rejected);
  assert.equal(flow.rejectReason(), RejectReason.RateLimited);
  assert.equal(flow.unreachableReason(), UnreachableReason.None);
  assert.equal(flow.httpResponseCode(), 402);
  assert.deepEqual(flow.retryAfter(), { seconds: 90061, nanos: 500_000_000 });
  assert.equal(flow.error(), null);
  // Reading is possible after the end, and changes nothing (B11).
  assert.equal((await flow.end()).getError(), null);
  assert.deepEqual(flow.retryAfter(), { seconds: 90061, nanos: 500_000_000 });
  assert.equal(flow.httpResponseCode(), 402);
});

const statuses = { RATE_LIMITED: 429, NO_TOKENS: 503, NOT_SAMPLED: 403, NO_MATCHING_RAMP: 403 };

for (const [reason, status] of Object.entries(statuses)) {
  test(`a rejection with ${reason} and no status of its own is answered with ${status} (B26)`, async (t) => {
    const agent = await startFakeAgent(t, '--decision', 'reject', '--reason', reason);
    const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
    const flow = await client.startFlow('checkout', patient);
    assert.equal(flow.rejectReason(), reason);
    assert.equal(flow.httpResponseCode(), status);
    assert.equal(flow.retryAfter(), null);
    await flow.end();
  });
}

test('a flow that holds in-flight tokens gives them back and returns the answer of the agent', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '2', '--flow-end-delay', '20ms');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  const [end, second] = await Promise.all([flow.end(), flow.end()]);
  assert.equal(end.getError(), null);
  const { tokenReturnStatuses } = end.getResponse();
  assert.equal(tokenReturnStatuses.length, 2);
  assert.equal(tokenReturnStatuses[0].returned, true);
  assert.equal(typeof tokenReturnStatuses[0].inflightRequestRef.requestId, 'string');
  assert.equal(second.getError().code, 'ALREADY_ENDED');

  await client.close();
  const report = await agent.report();
  assert.equal(report.flow_end_count, 1);
  assert.deepEqual(
    report.flow_ends[0].request_ids.sort(),
    tokenReturnStatuses.map((status) => status.inflightRequestRef.requestId).sort(),
  );
});

test('a large answer to the end of a flow arrives whole', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '2000');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  assert.equal((await flow.end()).getResponse().tokenReturnStatuses.length, 2000);
});

test('an end that the agent does not answer is an error of the end, not a rejected promise', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1', '--flow-end-hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, flowEndTimeoutMs: 50 });
  const flow = await client.startFlow('checkout', patient);
  const end = await flow.end();
  assert.ok(end.getError() instanceof ApertureError);
  assert.equal(end.getError().code, 'UNREACHABLE');
  assert.notEqual(end.getError().message, '');
  assert.equal(end.getResponse(), null);
  assert.equal(client.stats().flowEndsFailed, 1);
});

test('a flow is ended once (B10)', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  await flow.end();
  const again = await flow.end();
  assert.equal(again.getError().code, 'ALREADY_ENDED');
  assert.equal(again.getResponse(), null);
  assert.throws(() => flow.setStatus(FlowStatus.OK), { code: 'ALREADY_ENDED' });
});

test('without an agent a flow fails open, says why and is counted', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout');
  assert.equal(flow.shouldRun(), true);
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  assert.equal(flow.unreachableReason(), UnreachableReason.Unavailable);
  assert.equal(flow.rejectReason(), RejectReason.None);
  assert.equal(flow.httpResponseCode(), 200);
  assert.equal(flow.retryAfter(), null);
  assert.ok(flow.error() instanceof ApertureError);
  assert.equal(flow.error().code, 'UNREACHABLE');
  assert.notEqual(flow.error().message, '');
  // B25: ending it is no error.
  assert.equal((await flow.end()).getError(), null);
  const stats = client.stats();
  assert.equal(stats.flowsUnreachable, 1);
  assert.equal(stats.unreachableUnavailable + stats.unreachableTimeout, 1);
});

test('without an agent a flow in ramp mode does not run', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout', { rampMode: true });
  assert.equal(flow.shouldRun(), false);
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  assert.equal(flow.httpResponseCode(), 503);
  await flow.end();
});

const unreachableCounters = { INTERNAL: 'unreachableAgentError', UNAUTHENTICATED: 'unreachableMisconfigured' };

for (const [code, counter] of Object.entries(unreachableCounters)) {
  test(`an agent that answers with ${code} fails open and counts as ${counter}`, async (t) => {
    const agent = await startFakeAgent(t, '--error', code);
    const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
    const flow = await client.startFlow('checkout', patient);
    assert.equal(flow.shouldRun(), true);
    assert.match(flow.error().message, /as the test asked/);
    await flow.end();
    assert.equal(client.stats()[counter], 1);
  });
}

test('an agent that is too slow fails open', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const flow = await client.startFlow('checkout', { checkTimeoutMs: 30 });
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  assert.equal(client.stats().unreachableTimeout, 1);
  await flow.end();
});

test('waiting for readiness ends with the time, and says what the connection met', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  await assert.rejects(client.waitReady(100), { name: 'ApertureError', code: 'TIMEOUT', message: /refused/ });
  await assert.rejects(client.waitReady(0), { code: 'TIMEOUT' });
});

test('many calls at once each get their own answer', async (t) => {
  const agent = await startFakeAgent(t, '--delay', '5ms');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const count = 500;
  const flows = await Promise.all(
    Array.from({ length: count }, (_, i) => client.startFlow(`point-${i}`, { ...patient, labels: { i: `${i}` } })),
  );
  assert.equal(new Set(flows).size, count);
  assert.ok(flows.every((flow) => flow.decision() === FlowDecision.Accepted));
  await Promise.all(flows.map((flow) => flow.end()));
  assert.equal(client.stats().callsPending, 0);
  await client.close();
  const report = await agent.report();
  assert.equal(report.check_count, count);
  assert.ok(report.checks.every((check) => check.control_point === `point-${check.labels.i}`));
});

test('over the limit of pending calls a flow is unreachable at once', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, maxPendingCalls: 2 });
  await client.waitReady(AMPLE_MS);
  const waiting = [client.startFlow('checkout', patient), client.startFlow('checkout', patient)];
  const flow = await client.startFlow('checkout', patient);
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  assert.equal(client.stats().unreachableOverloaded, 1);
  await flow.end();
  await client.close();
  for (const pending of waiting) {
    await (await pending).end();
  }
});

test('close wakes the calls that are pending; closing twice is closing once', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const pending = client.startFlow('checkout', patient);
  const closed = client.close();
  assert.equal(client.shutdown(), closed);
  await assert.rejects(client.startFlow('checkout'), { code: 'CLOSED' });
  await assert.rejects(client.waitReady(5), { code: 'CLOSED' });
  assert.throws(() => client.stats(), { code: 'CLOSED' });
  const flow = await pending;
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  await closed;
  assert.equal((await flow.end()).getError(), null);
  await client.close();
});

test('flows can be ended after their client was closed', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  await client.close();
  assert.equal(flow.shouldRun(), true);
  const end = await flow.end();
  assert.equal(end.getResponse(), null);
});

test('a close whose time runs out rejects with TIMEOUT, and nobody has to listen', async (t) => {
  const agent = await startFakeAgent(t, '--export-hang');
  const client = new ApertureClient({ address: agent.address, insecure: true });
  await (await client.startFlow('checkout', patient)).end();
  client.close(50);
  await assert.rejects(client.close(), { code: 'TIMEOUT', message: /spans/ });
});

test('TLS is checked, and the key is sent with every kind of call', async (t) => {
  const certificates = await makeCertificates(t);
  const file = (name) => path.join(certificates, name);
  const agent = await startFakeAgent(
    t, '--tls-cert', file('server.pem'), '--tls-key', file('server-key.pem'), '--require-api-key', 'secret',
    '--in-flight', '1',
  );
  const options = { address: agent.address, apiKey: 'secret', caFile: file('ca.pem') };
  const client = openClient(t, ApertureClient, options);
  await client.waitReady(AMPLE_MS);
  const flow = await client.startFlow('checkout', patient);
  assert.equal(flow.decision(), FlowDecision.Accepted);
  assert.notEqual((await flow.end()).getResponse(), null);
  await client.close();

  const untrusting = openClient(t, ApertureClient, { ...options, caFile: file('other-ca.pem') });
  const refused = await untrusting.startFlow('checkout', { checkTimeoutMs: 2000 });
  assert.equal(refused.decision(), FlowDecision.Unreachable);
  await refused.end();

  const elsewhere = openClient(t, ApertureClient, { ...options, serverName: 'agent.invalid' });
  const misnamed = await elsewhere.startFlow('checkout', { checkTimeoutMs: 2000 });
  assert.equal(misnamed.decision(), FlowDecision.Unreachable);
  await misnamed.end();

  const keyless = openClient(t, ApertureClient, { ...options, apiKey: 'wrong' });
  const denied = await keyless.startFlow('checkout', patient);
  assert.equal(denied.decision(), FlowDecision.Unreachable);
  assert.equal(keyless.stats().unreachableMisconfigured, 1);
  assert.doesNotMatch(denied.error().message, /wrong/);
  await denied.end();

  const report = await agent.report();
  assert.equal(report.span_count, 1);
  assert.deepEqual(report.api_keys.filter((key) => key !== 'wrong'), ['secret']);
});

test('a key is sent on an insecure connection too (B9)', async (t) => {
  const agent = await startFakeAgent(t, '--require-api-key', 'secret');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, apiKey: 'secret' });
  const flow = await client.startFlow('checkout', patient);
  assert.equal(flow.decision(), FlowDecision.Accepted);
  await flow.end();
});

test('a unix socket is an address', async (t) => {
  const directory = await makeCertificates(t);
  const socket = path.join(directory, 'agent.sock');
  await startFakeAgent(t, '--unix', socket);
  const client = openClient(t, ApertureClient, { address: `unix://${socket}`, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  assert.equal(flow.decision(), FlowDecision.Accepted);
  await flow.end();
});

test('spans can be turned off', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true, telemetry: false });
  await (await client.startFlow('checkout', patient)).end();
  await client.close();
  const report = await agent.report();
  assert.equal(report.check_count, 1);
  assert.equal(report.span_count, 0);
});
