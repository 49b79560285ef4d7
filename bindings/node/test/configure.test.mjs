// What holds for the whole process: configure().

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, test } from 'node:test';

import { ApertureClient, FlowDecision, configure } from '../index.mjs';
import { HAS_ONSTACK } from './signal_flags.mjs';
import {
  PACKAGE, closedAddress, leavesNoHandle, openClient, runModule, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

afterEach(() => configure()); // the process is left as the library finds it

const INDEX = JSON.stringify(path.join(PACKAGE, 'index.mjs'));

for (const [what, options, message] of [
  ['null for options', null, /^options must be an object.*null/],
  ['a number for options', 2, /^options must be an object.*number/],
  ['an array for options', [], /^options must be an object.*an array/],
  ['an unknown option', { log_fd: 2 }, /^options\.log_fd: there is no such name; there are logFd/],
  ['a string for the log', { logFd: '2' }, /^options\.logFd must be a whole number.*not a value of type string/],
  ['null for the log', { logFd: null }, /^options\.logFd must be a whole number.*not null/],
  ['0 for the log', { logFd: 0 }, /^options\.logFd must be a whole number from 1 .*not 0/],
  ['a negative log', { logFd: -1 }, /^options\.logFd must be a whole number from 1 .*not -1/],
  ['half a descriptor', { logFd: 1.5 }, /^options\.logFd must be a whole number.*not 1\.5/],
  ['a descriptor that no process has', { logFd: 2 ** 32 + 2 }, /^options\.logFd must be.*not 4294967298/],
  ['a descriptor that is not open', { logFd: 2 ** 31 - 1 }, /^options\.logFd: 2147483647 is not an open/],
  ['an unknown level', { logLevel: 'Info' }, /^options\.logLevel must be.*warning.*not "Info"/],
  ['a number for a level', { logLevel: 0 }, /^options\.logLevel must be one of.*not a value of type number/],
  ['null for a level', { logLevel: null }, /^options\.logLevel must be one of.*not null/],
  ['no threads', { maxProcs: 0 }, /^options\.maxProcs must be a whole number from 1 .*not 0/],
  ['negative threads', { maxProcs: -4 }, /^options\.maxProcs must be a whole number from 1 .*not -4/],
  ['too many threads', { maxProcs: 1025 }, /^options\.maxProcs: is 1025; must be .*1024/],
  ['a number for a flag', { leaveSignalHandlers: 1 }, /^options\.leaveSignalHandlers must be true or false/],
]) {
  test(`${what} is refused`, () => {
    assert.throws(() => configure(options), { name: 'ApertureError', code: 'INVALID_ARGUMENT', message });
  });
}

test('options may be undefined one by one, and are not changed', () => {
  const names = ['logFd', 'logLevel', 'maxProcs', 'leaveSignalHandlers'];
  configure(Object.freeze(Object.fromEntries(names.map((name) => [name, undefined]))));
  configure(undefined);
});

// What is in the log after a flow that an agent which is down could not decide. The file is closed before the library
// writes to it.
async function logOf(t, options) {
  const file = path.join(temporaryDirectory(t), 'log.txt');
  const descriptor = fs.openSync(file, 'w');
  configure({ logFd: descriptor, ...options });
  fs.closeSync(descriptor);
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout');
  assert.equal(flow.decision(), FlowDecision.Unreachable);
  await flow.end();
  await client.close().catch(() => {}); // the span has nowhere to go
  configure(); // waits until the last lines are written
  return fs.readFileSync(file, 'utf8');
}

for (const level of [undefined, 'warning', 'info', 'debug']) {
  test(`an agent that is down is a line of the log at level ${level ?? 'warning, the default'}`, async (t) => {
    assert.match(await logOf(t, { logLevel: level }), /^time=\S+ level=WARN .*control_point=checkout/m);
  });
}

test("level 'error' leaves warnings out", async (t) => {
  assert.equal(await logOf(t, { logLevel: 'error' }), '');
});

test('what is left out gets its default: a second call without a log ends the log', async (t) => {
  const file = path.join(temporaryDirectory(t), 'log.txt');
  const descriptor = fs.openSync(file, 'w');
  const isOpen = () => fs.readdirSync('/proc/self/fd').some((name) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${name}`) === file;
    } catch {
      return false; // it was the descriptor of the directory
    }
  });
  configure({ logFd: descriptor });
  fs.closeSync(descriptor);
  assert.ok(isOpen(), 'the library has a descriptor of its own');
  configure({ maxProcs: 1 });
  assert.ok(!isOpen(), 'nobody has it any more');
});

test('it may be called before the first client, later, and in a worker, and starts no thread', async () => {
  const output = await runModule(`
    import fs from 'node:fs';
    import { Worker } from 'node:worker_threads';
    import { configure } from ${INDEX};
    const threads = () => fs.readdirSync('/proc/self/task').length;
    const before = threads();
    configure({ maxProcs: 1, logLevel: 'error' });
    console.log(threads() - before);
    const client = new ApertureClient({ address: 'local:' });
    for (const options of [{}, { maxProcs: 2, leaveSignalHandlers: true }, {}]) {
      configure(options);
      const flow = await client.startFlow('checkout');
      console.log(flow.decision(), (await flow.end()).getError());
    }
    await client.close();
    const source = 'import { configure } from ${INDEX}; configure({ maxProcs: 1 });';
    console.log(await new Promise((resolve, reject) => {
      new Worker(source, { eval: true }).once('exit', resolve).once('error', reject);
    }));
  `);
  assert.equal(output, `0\n${'Accepted null\n'.repeat(3)}0\n`);
});

for (const leaveSignalHandlers of [false, true]) {
  test(`leaveSignalHandlers: ${leaveSignalHandlers} is what happens to handlers`, async () => {
    const output = await runModule(`${HAS_ONSTACK}
      import { configure } from ${INDEX};
      configure({ leaveSignalHandlers: ${leaveSignalHandlers} });
      const client = new ApertureClient({ address: 'local:' });
      process.on('SIGUSR2', () => {});
      await (await client.startFlow('checkout')).end();
      console.log(hasOnstack('SIGUSR2'));
      await client.close();
    `);
    assert.equal(output, `${!leaveSignalHandlers}\n`);
  });
}
