// What the package does to its process: the event loop is never blocked, no thread of libuv's pool is occupied, a
// pending call keeps the process alive, and it works without a descriptor.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApertureClient, FlowDecision } from '../index.mjs';
import {
  AMPLE_MS, HANG_MS, leavesNoHandle, openClient, runModule, startFakeAgent,
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
