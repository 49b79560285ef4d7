// What the tests share: the binaries that `make` has built, servers that end with their test, and temporary files.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { liveHandles } from './live_handles.cjs';

export const PACKAGE = path.resolve(fileURLToPath(import.meta.url), '../..');
export const PROJECT = path.resolve(PACKAGE, '../..');
export const BUILD = path.join(PROJECT, 'build');

/** How long a process may take before a test says that it hangs, in milliseconds. */
export const HANG_MS = 20_000;

// The same for all tests of a file.
setTimeout(() => {
  console.error('the tests of this file hang');
  process.exit(1);
}, 15 * HANG_MS).unref();

/** A check timeout that no test reaches. */
export const AMPLE_MS = 10_000;

/** Sees that no handle of the library is left when the tests of a file are done. */
export function leavesNoHandle() {
  after(() => assert.equal(liveHandles(), 0, 'handles are left open'));
}

const cleanUps = new WeakMap();

/** Runs a function when the test ends; what was opened last is closed first. */
function atEnd(t, cleanUp) {
  if (!cleanUps.has(t)) {
    cleanUps.set(t, []);
    t.after(async () => {
      for (const one of cleanUps.get(t).reverse()) {
        await one();
      }
    });
  }
  cleanUps.get(t).push(cleanUp);
}

export function temporaryDirectory(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'libaperture-node-'));
  atEnd(t, () => fs.rmSync(directory, { recursive: true }));
  return directory;
}

/** Writes a policy that admits a number of flows per user at the control point "checkout". Returns its path. */
export function policyFile(t, { capacity = 2, interval = '3600s', denied = 'TooManyRequests' } = {}) {
  const file = path.join(temporaryDirectory(t), 'policy.yaml');
  fs.writeFileSync(
    file,
    `blueprint: rate-limiting/base
policy:
  policy_name: checkout
  rate_limiter:
    bucket_capacity: ${capacity}
    fill_amount: ${capacity}
    parameters:
      interval: ${interval}
      limit_by_label_key: user_id
      continuous_fill: false
    request_parameters:
      denied_response_status_code: ${denied}
    selectors:
      - control_point: checkout
`,
  );
  return file;
}

/** Makes a client that is closed when the test ends. */
export function openClient(t, ApertureClient, options) {
  const client = new ApertureClient(options);
  atEnd(t, () => client.close());
  return client;
}

// Starts a server of the build directory and waits until it says where it listens.
async function startServer(t, name, args) {
  const program = path.join(BUILD, name);
  assert.ok(fs.existsSync(program), `${program} is missing; build it with make`);
  const server = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => server.once('close', resolve));
  let output = '';
  server.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  const stop = async () => {
    server.kill('SIGTERM');
    await ended;
    return output;
  };
  atEnd(t, stop);
  const ready = new RegExp(`^${name}: listening on (\\S+)$`, 'm');
  while (!ready.test(output)) {
    const more = new Promise((resolve) => server.stdout.once('data', resolve));
    const end = await Promise.race([ended.then(() => 'ended'), more]);
    assert.notEqual(end, 'ended', `${name} ended before it listened: ${output}`);
  }
  return {
    address: ready.exec(output)[1],
    stop,
    // Writes a line and returns the next one that the server writes. One at a time.
    async ask(line) {
      const answers = () => output.split('\n').slice(0, -1);
      const before = answers().length;
      server.stdin.write(`${line}\n`);
      while (answers().length === before) {
        await once(server.stdout, 'data');
      }
      return answers()[before];
    },
  };
}

/**
 * Starts an agent that answers as its flags say. Its report() stops it and returns what it was asked, and reportText() the
 * same as JSON, in which doubles differ from integers; look() lets it go on.
 */
export async function startFakeAgent(t, ...args) {
  const { address, stop, ask } = await startServer(t, 'fakeagent', ['--control', ...args]);
  const reportText = async () => (await stop()).trim().split('\n').at(-1);
  return {
    address,
    reportText,
    report: async () => JSON.parse(await reportText()),
    look: async () => JSON.parse(await ask('{"report":true}')).report,
  };
}

/** Waits until a condition holds. It has no limit of its own: a file of tests that hangs is ended. */
export async function until(condition) {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Starts a scripted agent whose calls are answered one after the other: see fakeagent.ParseScript. */
export function startScriptedAgent(t, script, ...args) {
  const file = path.join(temporaryDirectory(t), 'script.json');
  fs.writeFileSync(file, JSON.stringify(script));
  return startFakeAgent(t, '--script', file, ...args);
}

/** Starts aperture-local on a free port of loopback. */
export function startApertureLocal(t, policy, ...args) {
  return startServer(t, 'aperture-local', ['--listen', '127.0.0.1:0', '--metrics', 'off', ...args, policy]);
}

/** Writes certificates for 127.0.0.1 and returns their directory. */
export async function makeCertificates(t) {
  const directory = temporaryDirectory(t);
  await promisify(execFile)(path.join(BUILD, 'testcert'), [directory]);
  return directory;
}

/** An address of loopback on which nobody listens. */
export async function closedAddress() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

/** To be given to `node`: the process then ends with an error when it leaves a handle of the library open. */
export const LEAVES_NO_HANDLE = ['--require', path.join(PACKAGE, 'test/leaves_no_handle.cjs')];

/** What modules of other processes, and of workers, begin with: the package, and liveHandles(). */
export const IMPORTS = `
  import { ApertureClient, ApertureError, FlowStatus } from ${JSON.stringify(path.join(PACKAGE, 'index.mjs'))};
  import { liveHandles } from ${JSON.stringify(path.join(PACKAGE, 'test/live_handles.cjs'))};
`;

/**
 * Runs a module as a process of its own, with the imports above. Returns how it ended: its exit code or the signal that
 * killed it, what it printed, and when it had ended. It fails when it hangs, and when it ends with an open handle of
 * the library, unless that is said to be what the test is about.
 */
export async function runProcess(
  body, { env = {}, flags = [], args = [], cwd, openFiles, leavesHandles = false, hangMs = HANG_MS } = {},
) {
  const checks = leavesHandles ? [] : LEAVES_NO_HANDLE;
  let command = [process.execPath, ...checks, ...flags, '--input-type=module', '--eval', IMPORTS + body, ...args];
  if (openFiles !== undefined) {
    command = ['sh', '-c', `ulimit -n ${openFiles}; exec "$0" "$@"`, ...command];
  }
  const child = spawn(command[0], command.slice(1), {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: hangMs,
    killSignal: 'SIGKILL',
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text;
    });
  }
  let endedAt;
  child.once('exit', () => {
    endedAt = Date.now();
  });
  const [code, signal] = await once(child, 'close');
  assert.notEqual(signal, 'SIGKILL', `the process hangs; it printed: ${output.stdout}${output.stderr}`);
  return { code, signal, endedAt, ...output };
}

/** Does the same with a module that must end by itself, with nothing on stderr and no error; returns its output. */
export async function runModule(body, options) {
  const { code, signal, stdout, stderr } = await runProcess(body, options);
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' }, stdout);
  return stdout;
}
