// Workers that come and go: each calls the library for itself, and leaves nothing behind, however it ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AMPLE_MS, HANG_MS, IMPORTS, leavesNoHandle, runModule, startFakeAgent } from './support.mjs';

leavesNoHandle();

// What every worker does: it opens all that can be open, leaves calls pending, says so, and ends as it is told.
const WORK = `${IMPORTS}
  import { parentPort, workerData } from 'node:worker_threads';
  const { how, answering, hanging } = workerData;
  const patient = { checkTimeoutMs: how === 'its natural end' ? 20 : 3_600_000 };
  const open = (address) => new ApertureClient({ address, insecure: true });

  const local = new ApertureClient({ address: 'local:' });
  parentPort.postMessage('koffi is loaded');
  globalThis.kept = [local, await local.startFlow('checkout')];

  const idle = open(answering);
  const unended = await idle.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
  kept.push(idle, unended);
  await (await idle.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} })).end(); // its handle stays open
  if (unended.decision() !== 'Accepted') throw new Error('not decided: ' + unended.error());

  const asking = open(hanging);
  kept.push(asking);
  for (let i = 0; i < 5; i++) asking.startFlow('checkout', patient);

  if (how !== 'its natural end') {
    const closing = open(hanging);
    closing.startFlow('checkout', patient);
    closing.close();
  }
  parentPort.postMessage('calls are pending');
  if (how === 'process.exit()') process.exit(5);
  if (how === 'an uncaught error') throw new Error('uncaught');
`;

// Runs workers and sees that the process is afterwards as it was. RSS is compared over the second half of the workers.
const HOST = `
  import fs from 'node:fs';
  import { Worker } from 'node:worker_threads';
  const [how, answering, hanging] = process.argv.slice(1);
  const source = ${JSON.stringify(WORK)};

  async function run() {
    const worker = new Worker(source, { eval: true, workerData: { how, answering, hanging } });
    let failure = null;
    worker.on('error', (error) => { failure = error; });
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    const said = (what) => Promise.race([ended, new Promise((resolve) => {
      worker.on('message', (message) => message === what && resolve());
    })]);
    if (how === 'worker.terminate()') {
      await said('calls are pending');
      worker.terminate();
    } else if (how === 'worker.terminate() at any time') {
      await said('koffi is loaded'); // before that, koffi may end the process (see README.md)
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
      worker.terminate();
    }
    return [await ended, failure?.message ?? 'no error'].join(' ');
  }

  const count = (directory) => fs.readdirSync('/proc/self/' + directory).length;
  async function until(condition, what) {
    for (const end = Date.now() + ${HANG_MS / 2}; !condition(); ) {
      if (Date.now() > end) throw new Error(what());
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  const endings = new Set();
  async function round(atOnce, rounds) {
    for (let i = 0; i < rounds; i++) {
      for (const ending of await Promise.all(Array.from({ length: atOnce }, run))) endings.add(ending);
    }
    await until(() => liveHandles() === 0, () => liveHandles() + ' handles are left');
  }

  await round(1, 1);
  await round(8, 1);
  const descriptors = count('fd');
  const threads = count('task');
  await round(1, 24);
  await round(8, 3);
  const { rss } = process.memoryUsage();
  await round(1, 25);
  await round(8, 3);
  await until(() => count('fd') <= descriptors, () => count('fd') + ' descriptors, not ' + descriptors);
  // The runtime has made the threads that it needs by now, but for one or two that its scheduling may ask for.
  await until(() => count('task') <= threads + 4, () => count('task') + ' threads, not ' + threads);
  console.log([...endings].join(', '), (process.memoryUsage().rss - rss) / 2 ** 20 | 0);
`;

for (const [how, ending] of Object.entries({
  'its natural end': '0 no error',
  'process.exit()': '5 no error',
  'an uncaught error': '1 uncaught',
  'worker.terminate()': '1 no error',
  'worker.terminate() at any time': '1 no error',
})) {
  test(`workers that end by ${how} with calls in flight leave nothing`, async (t) => {
    const hanging = await startFakeAgent(t, '--hang');
    const answering = await startFakeAgent(t, '--in-flight', '1');
    const output = await runModule(HOST, { args: [how, answering.address, hanging.address], hangMs: 5 * HANG_MS });
    const [, endings, grown] = /^(.*) (-?\d+)\n$/.exec(output);
    assert.equal(endings, ending);
    t.diagnostic(`${grown} MiB more after 49 workers`);
    // What those workers would leave is some 50 MiB; the allocator's own share differs from run to run.
    assert.ok(Number(grown) < 32, `${grown} MiB more`);
    if (how !== 'worker.terminate() at any time') {
      const report = await answering.report();
      assert.equal(report.check_count, 2 * 106);
      assert.equal(report.flow_end_count, 2 * 106, 'the tokens of flows that nobody ended were given back');
      assert.equal(report.span_count, 2 * 106);
      const failed = report.spans.filter((span) => span.attributes['aperture.flow.status'] === 'Error');
      assert.equal(failed.length, 106);
    }
  });
}

test('workers decide at the same time, each for itself', async (t) => {
  const agent = await startFakeAgent(t);
  const work = `${IMPORTS}
    import { parentPort, workerData } from 'node:worker_threads';
    const clients = [new ApertureClient({ address: workerData.address, insecure: true }),
      new ApertureClient({ address: 'local:' })];
    const decided = [];
    for (const client of clients) {
      await client.waitReady(${AMPLE_MS});
      for (let i = 0; i < 100; i++) {
        const flow = await client.startFlow('worker-' + workerData.number, { checkTimeoutMs: ${AMPLE_MS} });
        decided.push(flow.decision());
        await flow.end();
      }
      await client.close();
    }
    parentPort.postMessage(decided.filter((decision) => decision === 'Accepted').length);
  `;
  const output = await runModule(
    `
    import { Worker } from 'node:worker_threads';
    const run = (number) => new Promise((resolve, reject) => {
      const workerData = { number, address: process.argv[1] };
      new Worker(${JSON.stringify(work)}, { eval: true, workerData }).once('message', resolve).once('error', reject);
    });
    console.log((await Promise.all(Array.from({ length: 8 }, (_, number) => run(number)))).join(' '));
    `,
    { args: [agent.address] },
  );
  assert.equal(output, `${Array(8).fill(200).join(' ')}\n`);
  const { control_points: controlPoints, span_count: spans } = await agent.report();
  assert.deepEqual(controlPoints, Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`worker-${i}`, 100])));
  assert.equal(spans, 800);
});
