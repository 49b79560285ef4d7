// However a process ends, and whatever is pending then: it ends at once, as it would without the library, and the
// library writes nothing. Spans are sent by a clean close.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AMPLE_MS, HANG_MS, IMPORTS, closedAddress, runModule, runProcess, startFakeAgent } from './support.mjs';

/** How long an exit may take before a test calls it a hang. It is 0.2 s at most where nothing else runs. */
const EXIT_MS = 5_000;

// Functions that bring a process into a state, by what is open or pending when it ends.
const STATES = `
  async function ready(address, options = {}) {
    const client = new ApertureClient({ address, insecure: true, ...options });
    await client.waitReady(${AMPLE_MS});
    globalThis.kept ??= []; // so that the garbage collector does not close it
    kept.push(client);
    return client;
  }
  const patient = { checkTimeoutMs: 3_600_000 };
  const states = {
    async idle({ answering }) {
      const client = await ready(answering);
      await client.startFlow('checkout', patient);
    },
    async starts({ hanging }) {
      const client = await ready(hanging);
      for (let i = 0; i < 20; i++) client.startFlow('checkout', patient);
    },
    async ends({ answering }) {
      const client = await ready(answering, { flowEndTimeoutMs: 3_600_000 });
      for (let i = 0; i < 20; i++) (await client.startFlow('checkout', patient)).end();
    },
    async close({ answering }) {
      const client = await ready(answering, { flowEndTimeoutMs: 1 });
      for (let i = 0; i < 20; i++) await (await client.startFlow('checkout', patient)).end();
      client.close(3_600_000);
    },
    async everything(agents) {
      for (const name of ['idle', 'starts', 'ends', 'close']) await states[name](agents);
      new ApertureClient({ address: 'local:' }).startFlow('checkout');
    },
  };
`;

const ENTER = `${STATES}
  const [name, answering, hanging] = process.argv.slice(1);
  await states[name]({ answering, hanging });
  await new Promise((resolve) => setTimeout(resolve, 20)); // what is pending has reached the agent
  const leave = () => console.log(Date.now());
`;

// A service that goes on until its handler of a signal ends it.
const handled = (signal) => `
  process.on('${signal}', () => process.exit(9));
  setTimeout(() => process.exit(), ${HANG_MS});
  leave();
  process.kill(process.pid, '${signal}');
`;

// A module that brings a worker into a state, and says so.
const WORKER = `${IMPORTS}${STATES}
  import { parentPort, workerData } from 'node:worker_threads';
  await states[workerData.name](workerData.agents);
  if (workerData.leaves) process.exit(5);
  parentPort.postMessage('there');
`;

const ways = {
  'process.exit()': { leaving: 'leave(); process.exit();', code: 0 },
  'process.exit(7)': { leaving: 'leave(); process.exit(7);', code: 7 },
  'an uncaught exception': { leaving: "leave(); setImmediate(() => { throw new Error('uncaught'); });", code: 1 },
  'a rejection that nobody handles': { leaving: "leave(); Promise.reject(new Error('uncaught'));", code: 1 },
  SIGTERM: { leaving: "leave(); process.kill(process.pid, 'SIGTERM');", signal: 'SIGTERM' },
  SIGINT: { leaving: "leave(); process.kill(process.pid, 'SIGINT');", signal: 'SIGINT' },
  SIGHUP: { leaving: "leave(); process.kill(process.pid, 'SIGHUP');", signal: 'SIGHUP' },
  'a JavaScript handler of SIGTERM': { leaving: handled('SIGTERM'), code: 9 },
  'a JavaScript handler of SIGINT': { leaving: handled('SIGINT'), code: 9 },
  'workers that have the same pending': {
    leaving: `
      const { Worker } = await import('node:worker_threads');
      const workerData = { name, agents: { answering, hanging } };
      const source = ${JSON.stringify(WORKER)};
      const workers = Array.from({ length: 4 }, () => new Worker(source, { eval: true, workerData }));
      await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
      leave();
      process.exit(3);`,
    code: 3,
  },
};

for (const [way, { leaving, code = null, signal = null }] of Object.entries(ways)) {
  test(`a process that ends by ${way} ends at once, whatever is pending`, async (t) => {
    const hanging = await startFakeAgent(t, '--hang');
    const answering = await startFakeAgent(t, '--in-flight', '1', '--flow-end-hang', '--export-hang');
    for (const state of ['idle', 'starts', 'ends', 'close', 'everything']) {
      const args = [state, answering.address, hanging.address];
      const ended = await runProcess(ENTER + leaving, { args, leavesHandles: true });
      assert.deepEqual({ code: ended.code, signal: ended.signal }, { code, signal }, ended.stderr);
      const took = ended.endedAt - Number(ended.stdout);
      t.diagnostic(`${state}: ${took} ms`);
      assert.ok(took < EXIT_MS, `${state}: the end took ${took} ms`);
      // Node itself reports what is uncaught, and nobody else anything.
      const report = ended.stderr.replace(
        /^file:.*\n.*\n *\^\n\nError: uncaught\n(    at .*\n)*\nNode\.js v.*\n$/, 'uncaught',
      );
      assert.equal(report, code === 1 ? 'uncaught' : '', state);
    }
  });
}

test('a process whose work is done ends, with an idle client that is open', async (t) => {
  const agent = await startFakeAgent(t);
  const { code, stdout, stderr, endedAt } = await runProcess(
    `${STATES}
    await states.idle({ answering: process.argv[1] });
    console.log(Date.now());
    `,
    { args: [agent.address], leavesHandles: true },
  );
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  t.diagnostic(`${endedAt - Number(stdout)} ms`);
  assert.ok(endedAt - Number(stdout) < EXIT_MS, `the end took ${endedAt - Number(stdout)} ms`);
});

test('a client that was never used does not keep the process alive', async () => {
  const output = await runModule(
    `globalThis.client = new ApertureClient({ address: process.argv[1], insecure: true }); console.log('made');`,
    { args: [await closedAddress()], leavesHandles: true },
  );
  assert.equal(output, 'made\n');
});

test("a worker's process.exit() ends the worker only, whatever is pending", async (t) => {
  const hanging = await startFakeAgent(t, '--hang');
  const answering = await startFakeAgent(t, '--in-flight', '1', '--flow-end-hang', '--export-hang');
  const output = await runModule(
    `
    import { Worker } from 'node:worker_threads';
    const [answering, hanging] = process.argv.slice(1);
    for (const name of ['idle', 'starts', 'ends', 'close', 'everything']) {
      const workerData = { name, agents: { answering, hanging }, leaves: true };
      const worker = new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData });
      console.log(name, await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject)));
    }
    `,
    { args: [answering.address, hanging.address], leavesHandles: true },
  );
  assert.equal(output, 'idle 5\nstarts 5\nends 5\nclose 5\neverything 5\n');
});

const FLOWS = 1_000;

for (const [when, closing] of Object.entries({
  'before process.exit()': 'await client.close(); process.exit();',
  'before the natural end': 'await client.close();',
  'in a handler of SIGTERM': `
    process.once('SIGTERM', async () => { await client.close(); process.exit(); });
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => {}, ${HANG_MS}); // a service that would go on`,
  'in beforeExit': "process.once('beforeExit', () => client.close());",
})) {
  test(`a close ${when} has sent every span`, async (t) => {
    const agent = await startFakeAgent(t);
    const output = await runModule(
      `
      globalThis.client = new ApertureClient({ address: process.argv[1], insecure: true });
      await client.waitReady(${AMPLE_MS});
      const flows = await Promise.all(
        Array.from({ length: ${FLOWS} }, () => client.startFlow('checkout', { checkTimeoutMs: ${HANG_MS} })));
      console.log(flows.every((flow) => flow.decision() === 'Accepted'));
      await Promise.all(flows.map((flow) => flow.end()));
      ${closing}
      `,
      { args: [agent.address] },
    );
    assert.equal(output, 'true\n');
    assert.equal((await agent.report()).span_count, FLOWS);
  });
}
