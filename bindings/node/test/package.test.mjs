// The package as others meet it: its two doors, how it finds the library, its README, and its declarations.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import * as imported from '../index.mjs';
import {
  BUILD, HANG_MS, LEAVES_NO_HANDLE, PACKAGE, PROJECT, leavesNoHandle, policyFile, startFakeAgent,
  temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

const run = promisify(execFile);
const require = createRequire(import.meta.url);

// Makes a client in a process of its own. Returns what it prints: the code and the message of the error, or nothing.
async function makeClient(env, packageDirectory = PACKAGE) {
  const source = `
    const { ApertureClient } = require(process.argv[1]);
    try { new ApertureClient({ address: 'local:' }).close(); } catch ({ code, message }) { console.log(code, message); }
  `;
  const { stdout } = await run(process.execPath, [...LEAVES_NO_HANDLE, '--eval', source, packageDirectory], {
    env: { ...process.env, ...env }, timeout: HANG_MS,
  });
  return stdout.trimEnd();
}

async function compileLibrary(t, source) {
  const file = path.join(temporaryDirectory(t), 'other.so');
  const compiling = run('gcc', ['-shared', '-fPIC', '-x', 'c', '-', '-o', file]);
  compiling.child.stdin.end(source);
  await compiling;
  return file;
}

test('import and require give the same classes', () => {
  const required = require('..');
  assert.deepEqual({ ...imported }, { ...required });
  assert.equal(imported.ApertureClient, required.ApertureClient);
  assert.equal(require('libaperture'), required);
});

test('a program can import the package by its name', async () => {
  const source = `
    import { ApertureClient } from 'libaperture';
    await new ApertureClient({ address: 'local:' }).close();
  `;
  const command = [...LEAVES_NO_HANDLE, '--input-type=module', '--eval', source];
  await run(process.execPath, command, { cwd: PACKAGE, timeout: HANG_MS });
});

test('nothing is loaded before the first client', async () => {
  const source = `
    require(process.argv[1]);
    const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
    console.log(/libaperture|koffi/.test(maps.replaceAll(process.argv[1], '')));
  `;
  const { stdout } = await run(process.execPath, ['--eval', source, PACKAGE], { timeout: HANG_MS });
  assert.equal(stdout, 'false\n');
});

test('APERTURE_LIBRARY names the library', async (t) => {
  const copy = path.join(temporaryDirectory(t), 'copy.so');
  fs.copyFileSync(path.join(BUILD, 'libaperture.so'), copy);
  assert.equal(await makeClient({ APERTURE_LIBRARY: copy }), '');
  assert.equal(await makeClient({ APERTURE_LIBRARY: path.relative(process.cwd(), copy) }), '');
  assert.equal(await makeClient({ APERTURE_LIBRARY: '' }), '');
});

test('a library that is missing is an error that says where it was looked for', async () => {
  const message = await makeClient({ APERTURE_LIBRARY: '/no/such/library.so' });
  assert.match(message, /^LIBRARY_NOT_LOADED .*\/no\/such\/library\.so.*APERTURE_LIBRARY/);
});

test('an installed package uses the library that lies in it', async (t) => {
  const installed = path.join(temporaryDirectory(t), 'node_modules/libaperture');
  fs.cpSync(PACKAGE, installed, { recursive: true, filter: (file) => !/\/(test|node_modules)$/.test(file) });
  fs.symlinkSync(path.join(PACKAGE, 'node_modules'), path.join(installed, 'node_modules'));
  const env = { APERTURE_LIBRARY: '' };
  assert.match(await makeClient(env, installed), /^LIBRARY_NOT_LOADED .*libaperture\/lib\/libaperture\.so or /);
  fs.copyFileSync(path.join(BUILD, 'libaperture.so'), path.join(installed, 'lib/libaperture.so'));
  assert.equal(await makeClient(env, installed), '');
});

test('a file that is no library is refused', async (t) => {
  const file = path.join(temporaryDirectory(t), 'text.so');
  fs.writeFileSync(file, 'not a library');
  assert.match(await makeClient({ APERTURE_LIBRARY: file }), /^LIBRARY_NOT_LOADED .*text\.so cannot be used: /);
});

test('a library of another ABI version is refused with both versions and its path', async (t) => {
  const file = await compileLibrary(t, '#include <stdint.h>\nuint32_t aperture_abi_version(void) { return 99; }\n');
  const { ABI_VERSION } = require('../lib/abi.cjs');
  const message = await makeClient({ APERTURE_LIBRARY: file });
  for (const part of [file, 'ABI version 99', `ABI version ${ABI_VERSION}`]) {
    assert.ok(message.includes(part), message);
  }
});

for (const [what, project] of Object.entries({
  'how programs use the package': 'tsconfig.json',
  'programs with `await using`': 'tsconfig.disposable.json',
})) {
  test(`the declarations fit ${what}`, async () => {
    const tsc = require.resolve('typescript/bin/tsc');
    const command = [tsc, '--project', path.join(PACKAGE, 'test/types', project)];
    await run(process.execPath, command, { timeout: 6 * HANG_MS }).catch((error) => assert.fail(error.stdout));
  });
}

test('the lock file names no registry', () => {
  const lock = fs.readFileSync(path.join(PACKAGE, 'package-lock.json'), 'utf8');
  assert.doesNotMatch(lock, /"resolved"/);
  const { dependencies, devDependencies } = require('../package.json');
  for (const version of Object.values({ ...dependencies, ...devDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+$/, 'versions are pinned');
  }
});

// The programs of the README in their order: by whom each is to be decided, and what it prints.
const programs = {
  'starts flows': [(t) => ({ address: `local:${policyFile(t)}` }), 'alice: 200\nalice: 200\nalice: 429\n'],
  'guards work': [
    (t) => ({ address: `local:${policyFile(t)}` }), 'bob has bought 3 things\nbob has bought 3 things\nbob gets 429\n',
  ],
  'uses the cache': [(t) => startFakeAgent(t), 'a description of tea\na description of tea, from the cache\n'],
  'gives up': [(t) => startFakeAgent(t, '--hang'), 'AbortError\n'],
};

const readme = fs.readFileSync(path.join(PACKAGE, 'README.md'), 'utf8');
const snippets = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, snippet]) => snippet);

test('every program in the README is one that is tested', () => {
  assert.equal(snippets.length, Object.keys(programs).length);
});

for (const [i, [what, [decider, expected]]] of Object.entries(programs).entries()) {
  test(`the program in the README that ${what} runs`, async (t) => {
    const { address } = await decider(t);
    const env = { ...process.env, APERTURE_AGENT_ADDRESS: address, APERTURE_AGENT_INSECURE: 'true' };
    const command = [...LEAVES_NO_HANDLE, '--input-type=module', '--eval', snippets[i]];
    const { stdout, stderr } = await run(process.execPath, command, { cwd: PACKAGE, timeout: HANG_MS, env });
    assert.deepEqual({ stdout, stderr }, { stdout: expected, stderr: '' });
  });
}

test('every option is in the README', () => {
  const declarations = fs.readFileSync(path.join(PACKAGE, 'index.d.cts'), 'utf8');
  const [, options] = /interface ClientOptions \{(.*?)\n\}/s.exec(declarations);
  for (const [, name, type] of options.matchAll(/readonly (\w+)\??: (.*);/g)) {
    const written = name.replace(/^client(Certificate|Key)Pem$/, '…Pem');
    assert.ok(type === 'undefined' || readme.includes(`\`${written}\``), name);
  }
});

test('both doors export all that is declared, and nothing else', () => {
  const declarations = fs.readFileSync(path.join(PACKAGE, 'index.d.cts'), 'utf8');
  const declared = [...declarations.matchAll(/^export declare (?:const|class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(Object.keys(imported).filter((name) => name !== 'default').sort(), declared.sort());
});

test('the example counts what was accepted and rejected by tier', async (t) => {
  const example = path.join(PROJECT, 'examples/node/checkout.mjs');
  const trace = path.join(temporaryDirectory(t), 'trace.txt');
  fs.writeFileSync(trace, '# tier user\ngold alice\n\nsilver bob\ngold alice\ngold alice\n  silver   carol  \n');
  const address = `local:${policyFile(t, { capacity: 2, interval: '3600s' })}`;
  const count = (...args) => run(process.execPath, [...LEAVES_NO_HANDLE, example, ...args], { timeout: HANG_MS });

  const { stdout } = await count('--address', address, '--user-prefix', 'node-', trace);
  const [gold, silver] = stdout.trimEnd().split('\n').map((line) => line.split('\t'));
  assert.deepEqual(gold.slice(0, 3), ['gold', '2', '1']);
  assert.ok(Number(gold[3]) > 3500 && Number(gold[3]) <= 3600, gold[3]);
  assert.deepEqual(silver, ['silver', '2', '0', '0']);

  const failsWith = async (message, ...args) => {
    const error = await count(...args).then(() => assert.fail('it should fail'), (failure) => failure);
    assert.equal(error.code, 1);
    assert.match(error.stderr, message);
    assert.equal(error.stdout, '');
  };
  await failsWith(/usage/);
  await failsWith(/no-such-trace/, '--address', address, '/no-such-trace');
  await failsWith(/address/, '--address', '', trace);
  fs.writeFileSync(trace, 'gold\n');
  await failsWith(/line 1/, '--address', address, trace);
});
