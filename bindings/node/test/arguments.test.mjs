// Bad input: each call works, or gets an error that names the argument; nothing crashes, blocks or leaks.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { ApertureClient, ApertureError, FlowDecision, FlowStatus } from '../index.mjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, openClient, startFakeAgent, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

const LONE_SURROGATE = 'a\ud800b';

const invalid = (message) => ({ name: 'ApertureError', code: 'INVALID_ARGUMENT', message });

for (const [what, options, message] of [
  ['no options', undefined, /^options must be an object/],
  ['null for options', null, /^options must be an object.*null/],
  ['a string for options', '127.0.0.1:8080', /^options must be an object/],
  ['no address', {}, /address/],
  ['an empty address', { address: '' }, /address/],
  ['an address that is none', { address: 'no port here' }, /address/],
  ['a number for an address', { address: 8080 }, /options\.address must be a string, not a value of type number/],
  ['a lone surrogate in the address', { address: LONE_SURROGATE }, /options\.address must be valid Unicode/],
  ['a NUL in the address', { address: '127.0.0.1\0:80' }, /address/],
  ['a key that is not ASCII', { address: '127.0.0.1:1', apiKey: 'schlüssel' }, /API key/],
  ['a CA file that is missing', { address: '127.0.0.1:1', caFile: '/does/not/exist.pem' }, /exist\.pem/],
  ['a CA file with an insecure connection', { address: '127.0.0.1:1', insecure: true, caFile: '/x.pem' }, /insecure/],
  ['a number for insecure', { address: '127.0.0.1:1', insecure: 1 }, /options\.insecure must be true or false/],
  ['a negative timeout', { address: '127.0.0.1:1', flowEndTimeoutMs: -1 }, /options\.flowEndTimeoutMs.*not -1/],
  ['a CA twice', { address: '127.0.0.1:1', caFile: '/x.pem', caPem: 'x' }, /CA/],
  ['a CA that is no PEM', { address: '127.0.0.1:1', caPem: 'x' }, /CA/],
  ['a number for a key', { address: '127.0.0.1:1', clientKeyPem: 5 }, /options\.clientKeyPem must be a string/],
  ['a certificate without a key', { address: '127.0.0.1:1', clientCertificatePem: 'x' }, /client/],
  [
    'a client certificate that is missing', { address: '127.0.0.1:1', clientCertificateFile: '/no.pem', clientKeyFile: '/no.pem' },
    /no\.pem/,
  ],
  [
    'a string for skipVerify', { address: '127.0.0.1:1', skipVerify: 'yes' },
    /options\.skipVerify must be true or false/,
  ],
  ['skipVerify with an insecure connection', { address: '127.0.0.1:1', insecure: true, skipVerify: true }, /insecure/],
  [
    'an unknown compression', { address: '127.0.0.1:1', compression: 'zstd' },
    /options\.compression must be one of none, gzip, not "zstd"/,
  ],
  ['a number for compression', { address: '127.0.0.1:1', compression: 1 }, /options\.compression must be one of/],
  ['an array for metadata', { address: '127.0.0.1:1', metadata: ['x'] }, /options\.metadata must be an object/],
  ['a Map for metadata', { address: '127.0.0.1:1', metadata: new Map() }, /options\.metadata must be an object/],
  [
    'a number among the metadata', { address: '127.0.0.1:1', metadata: { a: 'x', b: 7 } },
    /options\.metadata: entry 2 must be a string/,
  ],
  ["gRPC's own metadata", { address: '127.0.0.1:1', metadata: { 'grpc-timeout': '1S' } }, /metadata.*entry 1.*gRPC/],
  ['metadata that is not ASCII', { address: '127.0.0.1:1', metadata: { tenant: 'ü' } }, /metadata.*entry 1.*ASCII/],
  ['pings that are too frequent', { address: '127.0.0.1:1', keepaliveTimeMs: 10_000 }, /keepalive time.*5 minutes/],
  ['a negative time of pings', { address: '127.0.0.1:1', keepaliveTimeMs: -1 }, /options\.keepaliveTimeMs.*not -1/],
  ['a timeout of pings that are not sent', { address: '127.0.0.1:1', keepaliveTimeoutMs: 5000 }, /keepalive/],
  ['null for a time', { address: '127.0.0.1:1', telemetryIntervalMs: null }, /options\.telemetryIntervalMs.*not null/],
  ['a negative queue', { address: '127.0.0.1:1', telemetryQueue: -1 }, /options\.telemetryQueue.*not -1/],
  [
    'a queue without end', { address: '127.0.0.1:1', telemetryQueue: Infinity },
    /options\.telemetryQueue.*not Infinity/,
  ],
  [
    'a queue beyond 31 bits', { address: '127.0.0.1:1', telemetryQueue: 2 ** 40 },
    /options\.telemetryQueue.*2147483647/,
  ],
  ['a negative bound of label values', { address: 'local:', maxLabels: -1 }, /options\.maxLabels.*not -1/],
  ['label values beyond 31 bits', { address: 'local:', maxLabels: 2 ** 31 }, /options\.maxLabels.*2147483647/],
  ['text for how many may wait', { address: 'local:', maxWaiting: '1' }, /options\.maxWaiting.*type string/],
  ['a cache of bytes', { address: '127.0.0.1:1', cacheBytes: 64 }, /cache bytes is 64; use 1048576 \(1 MiB\) at least/],
  ['half a batch', { address: '127.0.0.1:1', telemetryBatch: 0.5 }, /options\.telemetryBatch/],
  ['half a pending call', { address: '127.0.0.1:1', maxPendingCalls: 0.5 }, /options\.maxPendingCalls/],
  ['negative pending calls', { address: '127.0.0.1:1', maxPendingCalls: -1 }, /options\.maxPendingCalls/],
  ['credentials of grpc-js', { address: '127.0.0.1:1', channelCredentials: {} }, /channelCredentials.*caFile/],
  ['channel options of grpc-js', { address: '127.0.0.1:1', channelOptions: {} }, /channelOptions.*grpc-js/],
  ['an unknown option', { address: '127.0.0.1:1', api_key: 'k' }, /options\.api_key.*apiKey/],
]) {
  test(`${what} is refused by the constructor`, () => {
    assert.throws(() => new ApertureClient(options), invalid(message));
  });
}

test('options may be undefined one by one, and are not changed', async (t) => {
  const left = { apiKey: undefined, channelOptions: undefined };
  const options = Object.freeze({ address: '127.0.0.1:1', insecure: true, ...left });
  openClient(t, ApertureClient, options);
});

for (const [what, content] of [['missing', undefined], ['empty', ''], ['wrong', 'blueprint: no-such-blueprint\n']]) {
  test(`a policy file that is ${what} is refused`, (t) => {
    const file = path.join(temporaryDirectory(t), 'policy.yaml');
    if (content !== undefined) {
      fs.writeFileSync(file, content);
    }
    assert.throws(() => new ApertureClient({ address: `local:${file}` }), {
      name: 'ApertureError', code: 'POLICY', message: /policy\.yaml/,
    });
  });
}

const accessor = Object.defineProperty({}, 'key', { enumerable: true, get: () => 5 });

for (const [what, controlPoint, params, message] of [
  ['no control point', undefined, undefined, /controlPoint must be a string, not a value of type undefined/],
  ['an empty control point', '', undefined, /control point is empty/],
  ['a number for a control point', 7, undefined, /controlPoint must be a string/],
  ['a lone surrogate in the control point', LONE_SURROGATE, undefined, /controlPoint must be valid Unicode/],
  ['a string for params', 'checkout', 'gold', /params must be an object/],
  ['an unknown parameter', 'checkout', { ramp_mode: true }, /params\.ramp_mode.*rampMode/],
  ['a number for a cache key', 'checkout', { resultCacheKey: 7 }, /params\.resultCacheKey must be a string/],
  ['a lone surrogate in a cache key', 'checkout', { resultCacheKey: LONE_SURROGATE }, /resultCacheKey must be valid/],
  ['a string for global cache keys', 'checkout', { globalCacheKeys: 'k' }, /globalCacheKeys must be an array/],
  ['a number among the keys', 'checkout', { globalCacheKeys: ['k', 7] }, /globalCacheKeys\[1\] must be a string/],
  ['an empty key among the keys', 'checkout', { globalCacheKeys: [''] }, /global cache keys.*empty/],
  ['a string for ramp mode', 'checkout', { rampMode: 'yes' }, /params\.rampMode must be true or false/],
  ['a negative timeout', 'checkout', { checkTimeoutMs: -1 }, /params\.checkTimeoutMs.*not -1/],
  ['a timeout that is no number', 'checkout', { checkTimeoutMs: NaN }, /params\.checkTimeoutMs.*not NaN/],
  ['a string for a timeout', 'checkout', { checkTimeoutMs: '200' }, /params\.checkTimeoutMs/],
  ['call options of grpc-js', 'checkout', { grpcCallOptions: { metadata: {} } }, /grpcCallOptions\.metadata/],
  ['a string for call options', 'checkout', { grpcCallOptions: 'x' }, /params\.grpcCallOptions must be an object/],
  ['a controller for a signal', 'checkout', { signal: new AbortController() }, /params\.signal must be an AbortSignal/],
  ['an array for labels', 'checkout', { labels: ['gold'] }, /params\.labels must be an object/],
  ['a Map for labels', 'checkout', { labels: new Map([['tier', 'gold']]) }, /params\.labels must be an object/],
  ['a number for a label', 'checkout', { labels: { tier: 7 } }, /params\.labels\["tier"\] must be a string/],
  ['null for a label', 'checkout', { labels: { tier: null } }, /params\.labels\["tier"\] must be a string, not null/],
  ['undefined for a label', 'checkout', { labels: { tier: undefined } }, /params\.labels\["tier"\] must be a string/],
  ['a getter that gives a number', 'checkout', { labels: accessor }, /params\.labels\["key"\] must be a string/],
]) {
  test(`${what} makes startFlow reject`, async (t) => {
    const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
    await assert.rejects(client.startFlow(controlPoint, params), invalid(message));
    assert.equal(client.stats().flowsUnreachable, 0);
  });
}

test('the message about a label does not show its value', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  await assert.rejects(client.startFlow('checkout', { labels: { card: { number: 'secret' } } }), (error) => {
    assert.doesNotMatch(error.message, /secret/);
    return error instanceof ApertureError;
  });
});

test('unusual labels arrive as they are', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const labels = {
    '': 'empty key',
    empty: '',
    'schlüssel': 'größe €',
    emoji: '😀'.repeat(20),
    nul: 'a\0b',
    short: 'ü',
    [LONE_SURROGATE]: `x${LONE_SURROGATE}`,
    ['k'.repeat(300)]: 'v'.repeat(70_000),
    constructor: 'prototype names are labels too',
  };
  const flow = await client.startFlow('käse €', { labels, checkTimeoutMs: AMPLE_MS });
  assert.equal(flow.decision(), FlowDecision.Accepted);
  await flow.end();
  await client.close();
  const [check] = (await agent.report()).checks;
  assert.equal(check.control_point, 'käse €');
  const { [LONE_SURROGATE]: _, ...others } = labels;
  assert.deepEqual(check.labels, { ...others, 'a\ufffdb': 'xa\ufffdb' });
});

test('labels that are inherited are not sent', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const labels = Object.create({ inherited: 'no' });
  labels.own = 'yes';
  await (await client.startFlow('checkout', { labels, checkTimeoutMs: AMPLE_MS })).end();
  await client.close();
  assert.deepEqual((await agent.report()).checks[0].labels, { own: 'yes' });
});

test('ten thousand labels, and a label of 1 MiB, arrive whole', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`label-${i}`, `value ${i}`]));
  const large = { large: 'x'.repeat(2 ** 20) };
  for (const labels of [many, large, {}]) {
    const flow = await client.startFlow('checkout', { labels, checkTimeoutMs: AMPLE_MS });
    assert.equal(flow.error(), null);
    await flow.end();
  }
  await client.close();
  const { checks } = await agent.report();
  assert.deepEqual(checks.map((check) => check.labels ?? {}), [many, large, {}]);
});

test('labels over the limit are refused with the limit', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const labels = { large: 'x'.repeat(5_000_000) };
  await assert.rejects(client.startFlow('checkout', { labels }), invalid(/4,?000,?000/));
});

test('a timeout that is tiny is a timeout', async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', { checkTimeoutMs: Number.MIN_VALUE });
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  await flow.end();
});

test('bad timeouts of waiting and closing are refused', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  for (const timeout of [-1, NaN, '5', null, {}]) {
    await assert.rejects(client.waitReady(timeout), invalid(/timeoutMs/));
    await assert.rejects(client.close(timeout), invalid(/timeoutMs/));
  }
  await assert.rejects(client.waitReady(), invalid(/timeoutMs/));
  await assert.rejects(client.waitReady(5, { signal: 'now' }), invalid(/options\.signal must be an AbortSignal/));
  await assert.rejects(client.waitReady(5, { timeout: 5 }), invalid(/options\.timeout.*signal/));
  await assert.rejects(client.waitReady(5, new AbortController().signal), invalid(/options/));
  assert.equal(client.stats().flowsAccepted, 0, 'the client is still open');
});

test('a status that is none is refused', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout');
  for (const status of [undefined, null, 0, 'Ok', 'error', {}]) {
    assert.throws(() => flow.setStatus(status), invalid(/status must be FlowStatus\.OK or FlowStatus\.Error/));
  }
  flow.setStatus(FlowStatus.OK);
  await flow.end();
});

test('a closed client refuses everything', async () => {
  const client = new ApertureClient({ address: await closedAddress(), insecure: true });
  await client.close();
  await assert.rejects(client.startFlow('checkout'), { code: 'CLOSED' });
  await assert.rejects(client.waitReady(0), { code: 'CLOSED' });
  assert.throws(() => client.stats(), { code: 'CLOSED' });
});
