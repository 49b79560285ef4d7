// Signals: libuv's handlers lack SA_ONSTACK and are installed when the library is in use. They get the flag in time,
// and nothing goes wrong under thousands of signals a second.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import {
  AMPLE_MS, HANG_MS, IMPORTS, PACKAGE, leavesNoHandle, runModule, startFakeAgent, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

const SIGNALS = 10_000;

// A worker that runs flows until it is told to stop.
const WORKER = `${IMPORTS}
  import { parentPort, workerData } from 'node:worker_threads';
  ${flowLoop('!workerData.stop[0]')}
  parentPort.postMessage(await run(workerData.address));
`;

// Runs flows while a condition holds, and returns how many were right and how many were wrong.
function flowLoop(condition) {
  return `
    async function run(address) {
      const local = new ApertureClient({ address: 'local:' });
      const agent = new ApertureClient({ address, insecure: true });
      await agent.waitReady(${AMPLE_MS});
      const labels = Object.fromEntries(Array.from({ length: 40 }, (_, i) => ['label' + i, 'x'.repeat(i)]));
      const params = { labels, checkTimeoutMs: ${HANG_MS} };
      const counts = { right: 0, wrong: 0 };
      const finish = async (flow) => {
        counts[flow.decision() === 'Accepted' && (await flow.end()).getError() === null ? 'right' : 'wrong']++;
      };
      while (${condition}) {
        // Decided within the call: the thread is in the library for most of the time.
        for (let i = 0; i < 200; i++) await finish(await local.startFlow('checkout', params));
        const flows = await Promise.all(Array.from({ length: 20 }, () => agent.startFlow('checkout', params)));
        await Promise.all(flows.map(finish));
      }
      const clients = [local, agent];
      for (const client of clients) await client.close();
      return counts;
    }
  `;
}

test(`every flow is right in the main thread and in workers while ${SIGNALS} signals are handled`, async (t) => {
  const signaller = path.join(temporaryDirectory(t), 'signaller');
  const source = path.join(PACKAGE, 'test/signaller.c');
  await promisify(execFile)('gcc', ['-O1', '-Wall', '-Wextra', '-pedantic', '-Werror', source, '-o', signaller]);
  const agent = await startFakeAgent(t);
  const output = await runModule(
    `
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    import os from 'node:os';
    import { Worker } from 'node:worker_threads';
    const [signaller, address] = process.argv.slice(1);
    let handled = 0;
    const stop = new Uint8Array(new SharedArrayBuffer(1));
    ${flowLoop('!stop[0]')}
    const main = run(address);
    const workers = Array.from({ length: 2 }, () =>
      new Worker(${JSON.stringify(WORKER)}, { eval: true, workerData: { stop, address } }));
    const inWorkers = workers.map((worker) => once(worker, 'message'));
    await Promise.all(workers.map((worker) => once(worker, 'online')));

    // The library is in use. Starting a process makes libuv handle SIGCHLD.
    process.on('SIGUSR2', () => {
      handled++;
      if (handled === ${SIGNALS}) stop[0] = 1;
    });
    const { SIGUSR2, SIGCHLD } = os.constants.signals;
    const sender = spawn(signaller, [process.pid, SIGUSR2, SIGCHLD], { stdio: ['pipe', 'pipe', 'inherit'] });
    let sent = '';
    sender.stdout.setEncoding('utf8').on('data', (text) => { sent += text; });
    const counts = [await main, ...(await Promise.all(inWorkers)).flat()];
    for (let i = 0; i < 20; i++) await once(spawn('true'), 'exit'); // children are still noticed
    sender.stdin.end();
    await once(sender, 'close');
    process.removeAllListeners('SIGUSR2');
    console.log(JSON.stringify({ handled, sent: Number(sent), counts }));
    `,
    { args: [signaller, agent.address], hangMs: 4 * HANG_MS },
  );
  const { handled, sent, counts } = JSON.parse(output);
  t.diagnostic(output.trimEnd());
  assert.ok(handled >= SIGNALS, `${handled} signals were handled`);
  assert.ok(sent >= handled, `${sent} signals were sent`);
  assert.equal(counts.length, 3);
  for (const { right, wrong } of counts) {
    assert.equal(wrong, 0);
    assert.ok(right > 0);
  }
});

// Reads from the kernel whether the handler of a signal has SA_ONSTACK.
const ON_STACK = `
  import { createRequire } from 'node:module';
  import os from 'node:os';
  const koffi = createRequire(${JSON.stringify(`${PACKAGE}/`)})('koffi');
  const sigaction = koffi.load('libc.so.6').func('sigaction', 'int', ['int', 'void *', 'void *']);
  function onStack(name) {
    const action = Buffer.alloc(152); // struct sigaction of glibc: handler, 128 bytes of mask, flags
    if (sigaction(os.constants.signals[name], null, action) !== 0) throw new Error(name);
    if (action.readBigUInt64LE(0) === 0n) return 'no handler';
    return (action.readInt32LE(136) & 0x08000000) !== 0;
  }
`;

test('a listener for a signal is protected as soon as it is added, whatever else is added', async () => {
  const output = await runModule(`${ON_STACK}
    const client = new ApertureClient({ address: 'local:' });
    const seen = [onStack('SIGUSR2')];
    process.on('SIGUSR2', () => {});
    seen.push(onStack('SIGUSR2'));
    process.once('SIGHUP', () => {});
    process.prependListener('SIGTERM', () => {});
    process.on('SIGINT', () => {});
    seen.push(onStack('SIGHUP'), onStack('SIGTERM'), onStack('SIGINT'));
    process.removeAllListeners('SIGUSR2');
    seen.push(onStack('SIGUSR2'));
    process.on('SIGUSR2', () => {});
    seen.push(onStack('SIGUSR2'));
    process.on('no signal', () => {});
    process.on(Symbol('SIGUSR2'), () => {});
    console.log(seen.join(' '));
    await client.close();
  `);
  assert.equal(output, 'no handler true true true true no handler true\n');
});

test('handlers that were there before the library, and those of libuv itself, are protected', async () => {
  const output = await runModule(`${ON_STACK}
    import { spawn } from 'node:child_process';
    import { once } from 'node:events';
    process.on('SIGUSR2', () => {});
    const seen = [onStack('SIGUSR2')];
    const client = new ApertureClient({ address: 'local:' });
    seen.push(onStack('SIGUSR2'));
    const child = spawn('cat'); // libuv handles SIGCHLD while there are children
    await new Promise((resolve) => setTimeout(resolve, 20)); // the library looks every 10 ms, when it is called
    client.stats();
    seen.push(onStack('SIGCHLD'));
    child.stdin.end();
    await once(child, 'exit');
    console.log(seen.join(' '));
    await client.close();
    process.removeAllListeners('SIGUSR2');
  `);
  assert.equal(output, 'false true true\n');
});

test('one listener watches for those of signals, once in a process', async () => {
  const output = await runModule(`
    import { Worker } from 'node:worker_threads';
    const count = () => process.listenerCount('newListener');
    const before = count();
    for (let i = 0; i < 20; i++) await new ApertureClient({ address: 'local:' }).close();
    const inWorker = ${JSON.stringify(`${IMPORTS}
      import { parentPort } from 'node:worker_threads';
      const before = process.listenerCount('newListener');
      await new ApertureClient({ address: 'local:' }).close();
      parentPort.postMessage(process.listenerCount('newListener') - before);`)};
    const worker = new Worker(inWorker, { eval: true });
    const added = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    console.log(count() - before, added);
  `);
  assert.equal(output, '1 0\n');
});

test('handlers are left alone when that is configured', async () => {
  const output = await runModule(`${ON_STACK}
    configure({ leaveSignalHandlers: true });
    const client = new ApertureClient({ address: 'local:' });
    process.on('SIGUSR2', () => {});
    client.stats();
    console.log(onStack('SIGUSR2'));
    configure({});
    process.on('SIGHUP', () => {});
    console.log(onStack('SIGUSR2'));
    await client.close();
  `);
  assert.equal(output, 'false\ntrue\n');
});
