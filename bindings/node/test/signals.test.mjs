// Signals do in a process with the library what they did without it: handlers run, also several thousand times a
// second, and a signal that has none ends the process.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { HAS_ONSTACK } from './signal_flags.mjs';
import {
  AMPLE_MS, HANG_MS, IMPORTS, PACKAGE, leavesNoHandle, runModule, runProcess, startFakeAgent, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

const PENDING = `
  const client = new ApertureClient({ address: process.argv[1], insecure: true });
  await client.waitReady(${AMPLE_MS});
  const pending = Array.from({ length: 4 }, () => client.startFlow('checkout', { checkTimeoutMs: 3_600_000 }));
`;

async function compileSender(t) {
  const program = path.join(temporaryDirectory(t), 'send_signals');
  const source = path.join(PACKAGE, 'test/send_signals.c');
  await promisify(execFile)('gcc', ['-std=c11', '-O1', '-Wall', '-Wextra', '-Werror', source, '-o', program]);
  return program;
}

const SIGNALS = 10_000;
const PER_SECOND = 5_000;

/** How many flows are decided in process for each one that is asked of the agent. */
const LOCAL_FLOWS = 100;

// Flows, through an agent and in process, until somebody says that it is enough. Returns how many there were.
const FLOWS = `
  async function runFlows(address, enough) {
    const clients = [new ApertureClient({ address, insecure: true }), new ApertureClient({ address: 'local:' })];
    await clients[0].waitReady(${AMPLE_MS});
    const labels = Object.fromEntries(Array.from({ length: 40 }, (_, i) => ['label-' + i, 'x'.repeat(i)]));
    let flows = 0;
    while (!enough()) {
      for (const client of clients) {
        // Decided within the call, flows of the second keep the thread in the library for most of the time.
        for (let left = client === clients[0] ? 1 : ${LOCAL_FLOWS}; left > 0; left--) {
          const flow = await client.startFlow('checkout', { labels, checkTimeoutMs: ${HANG_MS} });
          const error = (await flow.end()).getError();
          if (flow.decision() !== 'Accepted' || error !== null) throw new Error('wrong: ' + (flow.error() ?? error));
          flows++;
        }
      }
      await new Promise(setImmediate); // signals are handled in between
    }
    const accepted = clients.reduce((sum, client) => sum + client.stats().flowsAccepted, 0);
    if (accepted !== flows) throw new Error(accepted + ' accepted, not ' + flows);
    await Promise.all(clients.map((client) => client.close()));
    return flows;
  }
`;

const WORKER = `${IMPORTS}${FLOWS}
  import { parentPort, workerData } from 'node:worker_threads';
  let enough = false;
  parentPort.on('message', () => { enough = true; });
  const flows = runFlows(workerData, () => enough);
  parentPort.postMessage('running');
  parentPort.postMessage(await flows);
  parentPort.close();
`;

test('a handler that is installed late runs 10,000 times, and SIGCHLD, beside flows in three threads', async (t) => {
  const agent = await startFakeAgent(t, '--keep', '0');
  const sender = await compileSender(t);
  const output = await runModule(
    `${FLOWS}
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import os from 'node:os';
    import { Worker } from 'node:worker_threads';
    const [address, sender] = process.argv.slice(1);

    let enough = false;
    const workers = [1, 2].map(() => new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData: address }));
    const workersEnd = Promise.all(workers.map((worker) => once(worker, 'exit')));
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const flows = runFlows(address, () => enough);

    let handled = 0;
    process.on('SIGUSR2', () => handled++); // all threads are in the library now and then
    let sent = 0;
    let children = 0;
    const childrenEnd = (async () => { // each one is a SIGCHLD
      for (; !enough; children++) {
        const [code] = await once(spawn('true'), 'exit');
        if (code !== 0) throw new Error('true ended with ' + code);
      }
    })();
    while (handled < ${SIGNALS}) { // the kernel merges those that meet one which is still pending
      const child = spawn(sender, [process.pid, os.constants.signals.SIGUSR2, ${SIGNALS / 2}, ${PER_SECOND}]);
      const [[count], [code]] = await Promise.all([once(child.stdout, 'data'), once(child, 'exit')]);
      if (code !== 0) throw new Error('the sender ended with ' + code);
      sent += Number(count);
    }

    enough = true;
    await childrenEnd;
    const counts = workers.map((worker) => once(worker, 'message'));
    for (const worker of workers) worker.postMessage('enough');
    const all = [await flows, ...(await Promise.all(counts)).flat()];
    await workersEnd;
    console.log(JSON.stringify({ sent, handled, children, flows: all }));
    `,
    { args: [agent.address, sender], hangMs: 4 * HANG_MS },
  );
  t.diagnostic(output.trimEnd());
  const { sent, handled, children, flows } = JSON.parse(output);
  assert.ok(handled >= SIGNALS && handled <= sent, `handled ${handled} of ${sent}`);
  assert.ok(children > 0);
  assert.ok(flows.every((count) => count > 0), flows.join(' '));
  const { check_count: checks } = await agent.report();
  assert.equal(checks, flows.reduce((sum, count) => sum + count, 0) / (1 + LOCAL_FLOWS));
});

test('a handler has its flag when process.on returns, whichever method installed it', async () => {
  const output = await runModule(`${HAS_ONSTACK}
    const client = new ApertureClient({ address: 'local:' });
    process.on('SIGUSR2', () => {});
    process.once('SIGHUP', () => {});
    process.prependListener('SIGWINCH', () => {});
    console.log(['SIGUSR2', 'SIGHUP', 'SIGWINCH'].map(hasOnstack).join(' '));
    await client.close();
  `);
  assert.equal(output, 'true true true\n');
});

test('the handler of SIGCHLD has its flag when a child is started, each time that Node installs it', async () => {
  const output = await runModule(`${HAS_ONSTACK}
    import { exec, spawn } from 'node:child_process';
    import { once } from 'node:events';
    const client = new ApertureClient({ address: 'local:' });
    for (const start of [() => spawn('true'), () => exec('true'), () => spawn('true')]) {
      const child = start();
      console.log(hasOnstack('SIGCHLD'));
      const [code] = await once(child, 'close');
      console.log(code);
    }
    const [error] = await once(spawn('/no/such/program'), 'error');
    console.log(error.code);
    await client.close();
  `);
  assert.equal(output, `${'true\n0\n'.repeat(3)}ENOENT\n`);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) {
  test(`${signal} without a handler ends the process while calls are pending`, async (t) => {
    const agent = await startFakeAgent(t, '--hang');
    const ended = await runProcess(
      `${PENDING}
      setTimeout(() => process.kill(process.pid, '${signal}'), 20);
      await Promise.race(pending);
      console.log('decided');
      `,
      { args: [agent.address], leavesHandles: true },
    );
    const { code, signal: by, stdout, stderr } = ended;
    assert.deepEqual({ code, by, stdout, stderr }, { code: null, by: signal, stdout: '', stderr: '' });
  });

  test(`a handler of ${signal} runs while calls are pending, and they stay pending`, async (t) => {
    const agent = await startFakeAgent(t, '--hang');
    const output = await runModule(
      `${PENDING}
      const handled = new Promise((resolve) => process.once('${signal}', resolve));
      process.kill(process.pid, '${signal}');
      console.log(await handled, client.stats().callsPending);
      const closed = client.close();
      for (const flow of await Promise.all(pending)) {
        console.log(flow.decision());
        await flow.end();
      }
      await closed;
      `,
      { args: [agent.address] },
    );
    assert.equal(output, `${signal} 4\n${'Unreachable\n'.repeat(4)}`);
  });
}

test('what listens for new handlers is there once, in the main thread only, and keeps nothing alive', async () => {
  const worker = `${IMPORTS}
    import { parentPort } from 'node:worker_threads';
    const before = process.listenerCount('newListener');
    await new ApertureClient({ address: 'local:' }).close();
    parentPort.postMessage(process.listenerCount('newListener') - before);
  `;
  const output = await runModule(`
    import { once } from 'node:events';
    import { createRequire } from 'node:module';
    import { Worker } from 'node:worker_threads';
    process.on('warning', (warning) => console.log('warning', warning.message));
    const before = process.listenerCount('newListener');
    const index = ${JSON.stringify(path.join(PACKAGE, 'index.mjs'))};
    const require = createRequire(index);
    for (let i = 0; i < 20; i++) {
      const { ApertureClient } = await import(index + '?' + i);
      await new ApertureClient({ address: 'local:' }).close();
      for (const file of Object.keys(require.cache)) delete require.cache[file]; // as test runners do
      await new (require(${JSON.stringify(PACKAGE)}).ApertureClient)({ address: 'local:' }).close();
    }
    const added = new Set();
    for (let i = 0; i < 20; i++) {
      const [count] = await once(new Worker(${JSON.stringify(worker)}, { eval: true }), 'message');
      added.add(count);
    }
    console.log(process.listenerCount('newListener') - before, [...added].join(' '));
  `);
  assert.equal(output, '1 0\n');
});
