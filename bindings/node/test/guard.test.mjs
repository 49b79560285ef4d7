// Flows around work: client.guard, and `await using`.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';

import { ApertureClient, ApertureError, Flow, FlowRejectedError, FlowStatus } from '../index.mjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, openClient, policyFile, runModule, startFakeAgent,
} from './support.mjs';

leavesNoHandle();

const typescript = createRequire(import.meta.url)('typescript');

const patient = { checkTimeoutMs: AMPLE_MS };

async function clientOf(t, ...args) {
  const agent = await startFakeAgent(t, ...args);
  return { agent, client: openClient(t, ApertureClient, { address: agent.address, insecure: true }) };
}

/** Closes the client and returns the statuses of the spans that the agent got. */
async function statusesOf({ agent, client }) {
  await client.close();
  return (await agent.report()).spans.map((span) => span.attributes['aperture.flow.status']);
}

test('guarded work runs in a flow, which is ended when the work is done', async (t) => {
  const both = await clientOf(t, '--in-flight', '1');
  const { client } = both;
  let seen;
  const result = await client.guard('checkout', { ...patient, labels: { tier: 'gold' } }, async (flow) => {
    assert.ok(flow instanceof Flow);
    seen = flow;
    await new Promise((resolve) => setTimeout(resolve, 1));
    assert.equal(client.stats().flowsEnded, 0);
    return 'done';
  });
  assert.equal(result, 'done');
  assert.equal((await seen.end()).getError().code, 'ALREADY_ENDED');
  assert.equal(await client.guard('checkout', patient, () => 'at once'), 'at once');
  await client.close();
  const { checks, flow_end_count: ends, spans } = await both.agent.report();
  assert.deepEqual(spans.map((span) => span.attributes['aperture.flow.status']), ['OK', 'OK']);
  assert.deepEqual([checks[0].labels, ends], [{ tier: 'gold' }, 2]);
});

test('work that fails passes its error on, and the flow says so', async (t) => {
  const both = await clientOf(t);
  const { client } = both;
  const failure = new Error('no stock');
  const expected = (error) => error === failure;
  await assert.rejects(client.guard('checkout', patient, () => { throw failure; }), expected);
  await assert.rejects(client.guard('checkout', patient, async () => { throw failure; }), expected);
  await assert.rejects(client.guard('checkout', patient, () => Promise.reject(undefined)), (error) => error === undefined);
  // Work may end its flow itself, and say how it went.
  await assert.rejects(client.guard('checkout', patient, async (flow) => { await flow.end(); throw failure; }), expected);
  await client.guard('checkout', patient, (flow) => flow.setStatus(FlowStatus.Error));
  assert.deepEqual((await statusesOf(both)).sort(), ['Error', 'Error', 'Error', 'Error', 'OK']);
});

test('a flow that is rejected is an error that says what to answer', async (t) => {
  const both = await clientOf(t, '--decision', 'reject', '--status', '402', '--wait-time', '1.5s');
  await assert.rejects(both.client.guard('checkout', patient, () => assert.fail('it must not run')), (error) => {
    assert.ok(error instanceof FlowRejectedError && error instanceof ApertureError);
    const { name, code, decision, rejectReason, httpResponseCode, retryAfter, cause } = error;
    assert.deepEqual({ name, code, decision, rejectReason, httpResponseCode, retryAfter, cause }, {
      name: 'FlowRejectedError', code: 'REJECTED', decision: 'Rejected', rejectReason: 'RATE_LIMITED',
      httpResponseCode: 402, retryAfter: { seconds: 1, nanos: 500_000_000 }, cause: undefined,
    });
    assert.match(error.message, /RATE_LIMITED/);
    return true;
  });
  assert.equal(both.client.stats().flowsEnded, 1);
  assert.deepEqual(await statusesOf(both), ['OK'], 'work that did not run did not fail (S22)');
});

test('onReject takes the place of the error', async (t) => {
  const both = await clientOf(t, '--decision', 'reject', '--reason', 'NO_TOKENS');
  const { client } = both;
  const params = { ...patient, onReject: async (flow) => flow.httpResponseCode() };
  assert.equal(await client.guard('checkout', params, () => assert.fail('it must not run')), 503);
  assert.equal(client.stats().flowsEnded, 1);
  const failure = new Error('cannot even say so');
  await assert.rejects(client.guard('checkout', { ...patient, onReject: () => { throw failure; } }, () => {}), failure);
  assert.equal(client.stats().flowsEnded, 2);
  assert.deepEqual(await statusesOf(both), ['OK', 'OK']);
});

test('without an agent guarded work runs, except in ramp mode', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  assert.equal(await client.guard('checkout', undefined, (flow) => flow.decision()), 'Unreachable');
  await assert.rejects(client.guard('checkout', { rampMode: true }, () => assert.fail('it must not run')), (error) => {
    assert.deepEqual(
      [error.code, error.decision, error.rejectReason, error.httpResponseCode, error.retryAfter, error.cause.code],
      ['REJECTED', 'Unreachable', 'NONE', 503, null, 'UNREACHABLE'],
    );
    return true;
  });
  assert.equal(client.stats().flowsEnded, 2);
});

for (const [what, args, message] of [
  ['no function', ['checkout', {}], /^fn must be a function.*undefined/],
  ['the function in place of the params', ['checkout', () => {}], /^fn must be a function/],
  ['a number for onReject', ['checkout', { onReject: 5 }, () => {}], /^params\.onReject must be a function/],
  ['a string for params', ['checkout', 'gold', () => {}], /^params must be an object/],
  ['an unknown parameter', ['checkout', { onRejected() {} }, () => {}], /^params\.onRejected.*onReject/],
  ['no control point', [undefined, {}, () => {}], /^controlPoint/],
]) {
  test(`${what} is refused by guard`, async (t) => {
    const client = openClient(t, ApertureClient, { address: 'local:' });
    await assert.rejects(client.guard(...args), { code: 'INVALID_ARGUMENT', message });
    assert.equal(client.stats().flowsAccepted, 0);
  });
}

test('an abort reaches the guarded flow', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const signal = AbortSignal.abort();
  await assert.rejects(client.guard('checkout', { signal }, () => assert.fail('it must not run')), { name: 'AbortError' });
});

test('`await using` ends the flow and closes the client', { skip: Symbol.asyncDispose === undefined }, async (t) => {
  // Runtimes without the syntax get what TypeScript makes of it.
  const source = `
    let kept;
    {
      await using client = new ApertureClient({ address: process.argv[1] });
      for (let i = 0; i < 3; i++) {
        await using flow = await client.startFlow('checkout', { labels: { user_id: 'alice' } });
        console.log(flow.decision(), client.stats().flowsEnded);
        if (i === 1) await flow.end(); // twice is no error
        kept = flow;
      }
      console.log(client.stats().flowsEnded, liveHandles());
    }
    console.log((await kept.end()).getError().code, liveHandles());
  `;
  const { outputText } = typescript.transpileModule(source, {
    compilerOptions: { target: 'ES2022', module: 'ESNext' },
  });
  const output = await runModule(outputText, { args: [`local:${policyFile(t)}`] });
  assert.equal(output, 'Accepted 0\nAccepted 1\nRejected 2\n3 4\nALREADY_ENDED 0\n');
});
