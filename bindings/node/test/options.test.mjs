// What the options of a client do, the environment, and the state of the connection.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { ApertureClient, ConnectionState, FlowDecision } from '../index.mjs';
import {
  AMPLE_MS, closedAddress, leavesNoHandle, makeCertificates, openClient, runModule, startFakeAgent, startScriptedAgent,
  until,
} from './support.mjs';

leavesNoHandle();

const patient = { checkTimeoutMs: AMPLE_MS };

// Whether an agent decides about a flow of a client with these options.
async function isDecided(t, options) {
  const client = openClient(t, ApertureClient, options);
  const flow = await client.startFlow('checkout', { checkTimeoutMs: 2000 });
  await flow.end();
  await client.close();
  return flow.decision() === FlowDecision.Accepted;
}

test('authorities and certificates are given as files or as text', async (t) => {
  const certificates = await makeCertificates(t);
  const file = (name) => path.join(certificates, name);
  const pem = (name) => fs.readFileSync(file(name), 'utf8');
  const { address } = await startFakeAgent(
    t, '--tls-cert', file('server.pem'), '--tls-key', file('server-key.pem'), '--tls-client-ca', file('ca.pem'),
  );
  const files = { clientCertificateFile: file('client.pem'), clientKeyFile: file('client-key.pem') };
  const pems = { clientCertificatePem: pem('client.pem'), clientKeyPem: pem('client-key.pem') };
  assert.equal(await isDecided(t, { address, caFile: file('ca.pem'), ...files }), true);
  assert.equal(await isDecided(t, { address, caPem: pem('ca.pem'), ...pems }), true);
  assert.equal(await isDecided(t, { address, caPem: pem('other-ca.pem'), ...pems }), false);
  assert.equal(await isDecided(t, { address, caPem: pem('ca.pem') }), false);
  assert.equal(await isDecided(t, { address, skipVerify: true, ...files }), true);
});

test('a key that does not belong to its certificate is refused without being shown', async (t) => {
  const certificates = await makeCertificates(t);
  const pem = (name) => fs.readFileSync(path.join(certificates, name), 'utf8');
  const clientKeyPem = pem('server-key.pem');
  assert.throws(
    () => new ApertureClient({ address: '127.0.0.1:1', clientCertificatePem: pem('client.pem'), clientKeyPem }),
    (error) => {
      assert.equal(error.code, 'INVALID_ARGUMENT');
      assert.ok(!error.message.includes(clientKeyPem.split('\n')[1]));
      return true;
    },
  );
});

test('metadata and compression go with every kind of call', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1');
  const client = openClient(t, ApertureClient, {
    address: agent.address, insecure: true, compression: 'gzip', metadata: { tenant: 'shop', 'X-Trace': 'a b' },
  });
  const flow = await client.startFlow('checkout', { ...patient, labels: { large: 'x'.repeat(10_000) } });
  await flow.end();
  await client.cacheDelete('checkout', { globalCacheKey: 'g' }, { timeoutMs: AMPLE_MS });
  await client.close();
  const { checks, flow_ends: ends, cache_deletes: deletes, exports } = await agent.report();
  for (const calls of [checks, ends, deletes, exports]) {
    assert.equal(calls.length, 1);
    assert.deepEqual(calls[0].metadata.tenant, ['shop']);
    assert.deepEqual(calls[0].metadata['x-trace'], ['a b']);
    assert.equal(calls[0].encoding, 'gzip');
  }
});

test('messages are not compressed, and without metadata, if nothing is said', async (t) => {
  const agent = await startFakeAgent(t);
  assert.equal(await isDecided(t, { address: agent.address, insecure: true, compression: 'none', metadata: {} }), true);
  const [check] = (await agent.report()).checks;
  assert.equal(check.encoding, '');
  assert.equal(check.metadata.tenant, undefined);
});

test('options of one client are not those of the next', async (t) => {
  const agent = await startFakeAgent(t);
  const { address } = agent;
  const others = { compression: 'gzip', metadata: { tenant: 'shop' }, apiKey: 'secret', telemetry: false };
  assert.equal(await isDecided(t, { address, insecure: true, ...others }), true);
  assert.equal(await isDecided(t, { address, insecure: true }), true);
  const { checks: [, check], span_count: spans } = await agent.report();
  const { encoding, metadata: { tenant, 'x-api-key': key } } = check;
  assert.deepEqual({ encoding, tenant, key, spans }, { encoding: '', tenant: undefined, key: undefined, spans: 1 });
});

test('pings may be asked for', async (t) => {
  const agent = await startFakeAgent(t);
  const options = { address: agent.address, insecure: true, keepaliveTimeMs: 300_000, keepaliveTimeoutMs: 10_000 };
  assert.equal(await isDecided(t, options), true);
});

test('a queue of spans is as long as it is said to be', async (t) => {
  const agent = await startScriptedAgent(t, { export: [{ hang: true }] });
  const client = new ApertureClient({
    address: agent.address, insecure: true, telemetryQueue: 3, telemetryIntervalMs: 3_600_000,
  });
  for (let i = 0; i < 10; i++) {
    await (await client.startFlow('checkout', patient)).end();
  }
  const { spansQueued, spansDropped } = client.stats();
  assert.equal(spansQueued + spansDropped, 10);
  assert.ok(spansDropped > 0, `${spansDropped} were dropped`);
  await assert.rejects(client.close(1), { code: 'TIMEOUT', message: /spans could not be sent/ });
});

test('spans are sent in batches, and when the interval is over', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, {
    address: agent.address, insecure: true, telemetryBatch: 2, telemetryIntervalMs: 5,
  });
  for (let i = 0; i < 6; i++) {
    await (await client.startFlow('checkout', patient)).end();
  }
  await until(() => client.stats().spansExported === 6); // without a close
  const { exports } = await agent.report();
  assert.ok(exports.every(({ span_count: spans }) => spans <= 2), JSON.stringify(exports));
});

test('the environment makes a client, and options win over it', async (t) => {
  const agent = await startFakeAgent(t, '--require-api-key', 'from the environment');
  const other = await startFakeAgent(t, '--require-api-key', 'given');
  const output = await runModule(
    `
    const decide = async (options) => {
      const client = ApertureClient.fromEnvironment(options);
      const flow = await client.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
      await flow.end();
      await client.close();
      return flow.decision();
    };
    class Derived extends ApertureClient {}
    const derived = Derived.fromEnvironment();
    console.log(await decide(), await decide({ apiKey: undefined }), await decide({ apiKey: 'wrong' }));
    console.log(await decide({ address: process.argv[1], apiKey: 'given' }), derived instanceof Derived);
    await derived.close();
    `,
    {
      args: [other.address],
      env: {
        APERTURE_AGENT_ADDRESS: agent.address, APERTURE_API_KEY: 'from the environment', APERTURE_AGENT_INSECURE: 'true',
        APERTURE_AGENT_SKIP_VERIFY: '',
      },
    },
  );
  assert.equal(output, 'Accepted Accepted Unreachable\nAccepted true\n');
});

test('TLS that is not verified can be asked for by the environment', async (t) => {
  const certificates = await makeCertificates(t);
  const file = (name) => path.join(certificates, name);
  const agent = await startFakeAgent(t, '--tls-cert', file('server.pem'), '--tls-key', file('server-key.pem'));
  const env = { APERTURE_AGENT_ADDRESS: agent.address, APERTURE_AGENT_INSECURE: '0', APERTURE_AGENT_SKIP_VERIFY: '1' };
  const output = await runModule(
    `
    for (const options of [{}, { skipVerify: false }]) {
      const client = ApertureClient.fromEnvironment(options);
      const flow = await client.startFlow('checkout', { checkTimeoutMs: 2000 });
      console.log(flow.decision());
      await flow.end();
      await client.close();
    }
    `,
    { env },
  );
  assert.equal(output, 'Accepted\nUnreachable\n');
});

for (const [what, env, options, message] of [
  ['no address', {}, undefined, 'APERTURE_AGENT_ADDRESS is not set, and there is no options.address'],
  [
    'a word for a flag', { APERTURE_AGENT_INSECURE: 'yes' }, { address: 'a:1' },
    'APERTURE_AGENT_INSECURE must be true, false, 1 or 0',
  ],
  [
    'a flag in capitals', { APERTURE_AGENT_SKIP_VERIFY: 'TRUE' }, { address: 'a:1' },
    'APERTURE_AGENT_SKIP_VERIFY must be true, false, 1 or 0',
  ],
  ['a string for options', {}, 'a:1', 'options must be an object, not a value of type string'],
]) {
  test(`${what} is refused by fromEnvironment`, async () => {
    const unset = { APERTURE_AGENT_ADDRESS: '', APERTURE_AGENT_INSECURE: '', APERTURE_AGENT_SKIP_VERIFY: '' };
    const output = await runModule(
      `
      try {
        ApertureClient.fromEnvironment(${JSON.stringify(options)});
      } catch ({ code, message }) {
        console.log(code, message);
      }
      `,
      { env: { ...unset, ...env } },
    );
    assert.equal(output, `INVALID_ARGUMENT ${message}\n`);
  });
}

test('the state of the connection is told', async (t) => {
  const agent = await startFakeAgent(t);
  const client = new ApertureClient({ address: agent.address, insecure: true });
  assert.ok(['IDLE', 'CONNECTING', 'READY'].includes(client.state()), client.state());
  await client.waitReady(AMPLE_MS);
  assert.equal(client.state(), ConnectionState.Ready);
  assert.equal(client.getState(), 2); // connectivityState.READY of grpc-js
  await agent.report();
  await until(() => client.state() === ConnectionState.Failing);
  assert.equal(client.getState(), 3); // TRANSIENT_FAILURE
  const closing = client.close();
  assert.equal(client.state(), ConnectionState.Closed);
  await closing;
  assert.equal(client.state(), ConnectionState.Closed);
  assert.equal(client.getState(), 4); // SHUTDOWN
});

test('an engine in this process is always ready; an agent that is down is not', async (t) => {
  assert.equal(openClient(t, ApertureClient, { address: 'local:' }).state(), ConnectionState.Ready);
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  await until(() => client.state() === ConnectionState.Failing);
});
