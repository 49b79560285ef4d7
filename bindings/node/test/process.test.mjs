// What the package does to its process: the event loop is never blocked, no thread of libuv's pool is occupied, a pending
// call keeps the process alive, and it works without a descriptor.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { ApertureClient, FlowDecision } from '../index.mjs';
import {
  AMPLE_MS, HANG_MS, PACKAGE, closedAddress, leavesNoHandle, openClient, runModule, startFakeAgent,
} from './support.mjs';

leavesNoHandle();

test('timers go on while a check waits for a slow agent', async (t) => {
  const agent = await startFakeAgent(t, '--delay', '300ms', '--in-flight', '1', '--flow-end-delay', '300ms');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  await client.waitReady(AMPLE_MS);

  let ticks = 0;
  const ticker = setInterval(() => ticks++, 5);
  const flow = await client.startFlow('checkout', { checkTimeoutMs: AMPLE_MS });
  const ticksOfStart = ticks;
  assert.equal(flow.decision(), FlowDecision.Accepted);
  assert.equal((await flow.end()).getError(), null);
  const ticksOfEnd = ticks - ticksOfStart;
  clearInterval(ticker);
  // A blocked loop would tick once at most.
  assert.ok(ticksOfStart > 5, `${ticksOfStart} ticks during the check`);
  assert.ok(ticksOfEnd > 5, `${ticksOfEnd} ticks during the end`);
});

test("with one thread in libuv's pool, files can be read and names looked up while 50 checks wait", async (t) => {
  const agent = await startFakeAgent(t, '--hang');
  const output = await runModule(
    `
    import dns from 'node:dns/promises';
    import fs from 'node:fs/promises';
    const client = new ApertureClient({ address: process.argv[1], insecure: true });
    await client.waitReady(${AMPLE_MS});
    let decided = 0;
    const flows = Array.from({ length: 50 }, () =>
      client.startFlow('checkout', { checkTimeoutMs: ${10 * HANG_MS} }).finally(() => decided++));
    await fs.readFile('/proc/self/status');
    await dns.lookup('localhost');
    console.log('pool is free, decided:', decided, 'pending:', client.stats().callsPending);
    const closed = client.close();
    for (const flow of await Promise.all(flows)) await flow.end();
    await closed;
    `,
    { env: { UV_THREADPOOL_SIZE: '1' }, args: [agent.address] },
  );
  assert.equal(output, 'pool is free, decided: 0 pending: 50\n');
});

test('a pending call keeps the process alive', async (t) => {
  const agent = await startFakeAgent(t, '--delay', '300ms', '--in-flight', '1', '--flow-end-delay', '200ms');
  // Promises alone keep nothing alive: without the pending call the process would end before it prints.
  const output = await runModule(
    `
    const client = new ApertureClient({ address: process.argv[1], insecure: true });
    client.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} }).then(async (flow) => {
      console.log(flow.decision());
      const end = await flow.end();
      console.log(end.getResponse().tokenReturnStatuses.length);
      client.close().then(() => console.log('closed'));
    });
    `,
    { args: [agent.address] },
  );
  assert.equal(output, 'Accepted\n1\nclosed\n');
});

test('without a file descriptor for the pipe, completions still arrive', async (t) => {
  const agent = await startFakeAgent(t, '--delay', '20ms', '--in-flight', '1');
  const output = await runModule(
    `
    import fs from 'node:fs';
    const client = new ApertureClient({ address: process.argv[1], insecure: true });
    const files = [];
    try { for (;;) files.push(fs.openSync('/dev/null')); } catch (error) { console.log(error.code); }
    const flow = await client.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
    console.log('decided', (await flow.end()).getError() === null);
    for (const file of files) fs.closeSync(file);
    const again = await client.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
    console.log('decided', (await again.end()).getError() === null);
    await client.close();
    `,
    { args: [agent.address], openFiles: 64 },
  );
  assert.equal(output, 'EMFILE\ndecided true\ndecided true\n');
});

test('every worker has a library of its own to call, and ends with calls in flight', async (t) => {
  const agent = await startFakeAgent(t);
  const hanging = await startFakeAgent(t, '--hang');
  const work = async (address, stayPending) => {
    const { ApertureClient } = require(process.argv.at(-1));
    const { parentPort } = require('node:worker_threads');
    const client = new ApertureClient({ address, insecure: true });
    if (stayPending) {
      client.startFlow('checkout', { checkTimeoutMs: 3_600_000 });
      setTimeout(() => parentPort.postMessage('pending'), 20);
      return;
    }
    const flow = await client.startFlow('checkout', { checkTimeoutMs: 10_000 });
    await flow.end();
    await client.close();
    parentPort.postMessage(flow.decision());
  };
  // In a process of its own: workers that are terminated leave handles behind.
  const source = `
    const { Worker } = require('node:worker_threads');
    const work = ${JSON.stringify(`(${work})`)};
    const run = (address, stayPending) => new Promise((resolve, reject) => {
      const call = work + '(' + JSON.stringify(address) + ',' + stayPending + ')';
      const worker = new Worker(call, { eval: true, argv: [process.argv[3]] });
      worker.once('error', reject);
      worker.once('message', async (message) => {
        if (stayPending) await worker.terminate();
        resolve(message);
      });
    });
    (async () => {
      console.log((await Promise.all([1, 2, 3].map(() => run(process.argv[1], false)))).join(' '));
      console.log(await run(process.argv[2], true));
    })();
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath, ['--eval', source, agent.address, hanging.address, PACKAGE], { timeout: HANG_MS },
  );
  assert.equal(stdout, 'Accepted Accepted Accepted\npending\n');
});
