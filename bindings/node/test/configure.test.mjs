// The settings of the process: they are checked, and each has its effect.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import { configure } from '../index.mjs';
import { AMPLE_MS, closedAddress, leavesNoHandle, runModule, startFakeAgent, temporaryDirectory } from './support.mjs';

leavesNoHandle();

for (const [what, options, message] of [
  ['no options', undefined, /^options must be an object/],
  ['null for options', null, /^options must be an object.*null/],
  ['a descriptor for options', 2, /^options must be an object/],
  ['an unknown option', { log_fd: 2 }, /options\.log_fd.*logFd/],
  ['a string for a descriptor', { logFd: '2' }, /options\.logFd must be a whole number, not a value of type string/],
  ['a stream for a descriptor', { logFd: process.stderr }, /options\.logFd must be a whole number/],
  ['half a descriptor', { logFd: 2.5 }, /options\.logFd must be a whole number, not 2\.5/],
  ['a negative descriptor', { logFd: -1 }, /log_fd: -1 is not an open/],
  ['a closed descriptor', { logFd: 999_999 }, /log_fd.*is not an open file descriptor/],
  ['a descriptor over 32 bits', { logFd: 2 ** 32 + 2 }, /options\.logFd must be a whole number/],
  ['an unknown level', { logLevel: 'warn' }, /logLevel must be one of debug, info, warning, error, not "warn"/],
  ['a number for a level', { logLevel: 0 }, /options\.logLevel must be one of/],
  ['null for a level', { logLevel: null }, /options\.logLevel must be one of.*null/],
  ['negative threads', { maxProcs: -1 }, /max_procs: is -1; must be/],
  ['half a thread', { maxProcs: 0.5 }, /options\.maxProcs must be a whole number/],
  ['NaN threads', { maxProcs: NaN }, /options\.maxProcs must be a whole number, not NaN/],
  ['a number for a flag', { leaveSignalHandlers: 1 }, /options\.leaveSignalHandlers must be true or false/],
]) {
  test(`${what} is refused by configure`, () => {
    assert.throws(() => configure(options), { name: 'ApertureError', code: 'INVALID_ARGUMENT', message });
  });
}

test('options may be undefined one by one, and are not changed', () => {
  assert.equal(configure(Object.freeze({ logFd: undefined, logLevel: undefined, maxProcs: undefined })), undefined);
});

// What the process has written to its log when a flow met no agent.
async function logOf(t, settings, { before = '', after = '' } = {}) {
  const file = path.join(temporaryDirectory(t), 'log.txt');
  await runModule(
    `import fs from 'node:fs';
    const logFd = fs.openSync(process.argv[1], 'a');
    ${before}
    configure(${settings});
    fs.closeSync(logFd); // the library has one of its own
    const client = new ApertureClient({ address: process.argv[2], insecure: true });
    await (await client.startFlow('checkout')).end();
    ${after}
    await client.close();
    `,
    { args: [file, await closedAddress()] },
  );
  return fs.readFileSync(file, 'utf8');
}

test('the log is written to the descriptor, from the level on', async (t) => {
  assert.match(await logOf(t, '{ logFd }'), /unreachable|refused/);
  assert.match(await logOf(t, "{ logFd, logLevel: 'warning' }"), /unreachable|refused/);
  assert.equal(await logOf(t, "{ logFd, logLevel: 'error' }"), '');
});

test('without a descriptor, nothing is logged', async (t) => {
  assert.equal(await logOf(t, "{ logLevel: 'debug' }"), '');
  assert.equal(await logOf(t, '{ logFd: 0 }'), '');
  assert.equal(await logOf(t, '{}', { before: 'configure({ logFd });' }), '', 'every call sets all options');
});

test('maxProcs bounds the threads that run the library', async (t) => {
  const agent = await startFakeAgent(t);
  const output = await runModule(
    `
    import fs from 'node:fs';
    const threads = () => fs.readdirSync('/proc/self/task').length;
    configure({ maxProcs: 1 });
    const client = new ApertureClient({ address: process.argv[1], insecure: true });
    await client.waitReady(${AMPLE_MS});
    async function work() {
      const flows = await Promise.all(
        Array.from({ length: 1000 }, () => client.startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} })));
      await Promise.all(flows.map((flow) => flow.end()));
    }
    for (let i = 0; i < 5; i++) await work();
    const few = threads();
    configure({ maxProcs: 64 });
    for (const end = Date.now() + ${AMPLE_MS}; threads() < few + 8 && Date.now() < end; ) await work();
    console.log(threads() >= few + 8 || [few, threads()]);
    await client.close();
    `,
    { args: [agent.address] },
  );
  assert.equal(output, 'true\n');
});
