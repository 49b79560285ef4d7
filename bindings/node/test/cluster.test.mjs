// Node's cluster: processes that are started by one that uses the library.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { AMPLE_MS, IMPORTS, LEAVES_NO_HANDLE, runModule, startFakeAgent, temporaryDirectory } from './support.mjs';

const FLOWS = 100;

const RUN_FLOWS = `
  async function runFlows(client, controlPoint) {
    let accepted = 0;
    for (let i = 0; i < ${FLOWS}; i++) {
      const flow = await client.startFlow(controlPoint, { checkTimeoutMs: ${AMPLE_MS} });
      accepted += flow.decision() === 'Accepted' && (await flow.end()).getError() === null;
    }
    return accepted;
  }
  async function open() {
    const client = new ApertureClient({ address: process.argv.at(-1), insecure: true });
    await client.waitReady(${AMPLE_MS});
    return client;
  }
`;

const WORKER = `${IMPORTS}${RUN_FLOWS}
  import cluster from 'node:cluster';
  const client = await open();
  const accepted = await runFlows(client, 'worker-' + cluster.worker.id);
  const kept = liveHandles();
  await client.close();
  process.send({ accepted, kept, left: liveHandles() }, () => cluster.worker.disconnect());
`;

test('a primary that has clients forks workers that have their own, and all end cleanly', async (t) => {
  const agent = await startFakeAgent(t);
  const worker = path.join(temporaryDirectory(t), 'worker.mjs');
  fs.writeFileSync(worker, WORKER);
  const output = await runModule(
    `${RUN_FLOWS}
    import cluster from 'node:cluster';
    import { once } from 'node:events';
    const [exec, address] = process.argv.slice(1);
    const client = await open();
    console.log(await runFlows(client, 'primary'));

    cluster.setupPrimary({ exec, args: [address], execArgv: ${JSON.stringify(LEAVES_NO_HANDLE)} });
    const workers = [cluster.fork(), cluster.fork()];
    const messages = Promise.all(workers.map((worker) => once(worker, 'message')));
    const ends = Promise.all(workers.map((worker) => once(worker, 'exit')));
    console.log(await runFlows(client, 'primary')); // beside the workers
    const failed = ends.then(() => { throw new Error('a worker ended without a word'); });
    for (const [message] of await Promise.race([messages, failed])) console.log(JSON.stringify(message));
    failed.catch(() => {}); // from here on they are to end
    for (const [code, signal] of await ends) console.log(code, signal);
    console.log(await runFlows(client, 'primary')); // after them
    await client.close();
    `,
    { args: [worker, agent.address] },
  );
  const said = `{"accepted":${FLOWS},"kept":${FLOWS + 1},"left":0}\n`;
  assert.equal(output, `${FLOWS}\n${FLOWS}\n${said}${said}0 null\n0 null\n${FLOWS}\n`);
  const { control_points: controlPoints, span_count: spans } = await agent.report();
  assert.deepEqual(controlPoints, { primary: 3 * FLOWS, 'worker-1': FLOWS, 'worker-2': FLOWS });
  assert.equal(spans, 5 * FLOWS);
});
