// The baggage of OpenTelemetry becomes labels, in processes of their own: what is registered with it is global.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import {
  AMPLE_MS, BUILD, HANG_MS, PACKAGE, runModule, startFakeAgent, temporaryDirectory,
} from './support.mjs';

const run = promisify(execFile);

// To be put before a program in a folder that has both packages of OpenTelemetry.
const REGISTER = `
  import { context, propagation } from '@opentelemetry/api';
  import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const withBaggage = (entries, work) => {
    const values = Object.entries(entries).map(([key, value]) => [key, { value }]);
    const baggage = propagation.createBaggage(Object.fromEntries(values));
    return context.with(propagation.setBaggage(context.active(), baggage), work);
  };
`;

const FLOWS = `
  const client = new ApertureClient({ address: process.argv.at(-1), insecure: true });
  const start = async (labels) => {
    const flow = await client.startFlow('checkout', { labels, checkTimeoutMs: ${AMPLE_MS} });
    if (flow.error()) throw flow.error();
    await flow.end();
  };
`;

const labelsOf = (report) => report.checks.map(({ labels }) => labels ?? {});

test('the active baggage becomes labels as it is, and labels of the program win (B38)', async (t) => {
  const agent = await startFakeAgent(t);
  await runModule(
    `${REGISTER}${FLOWS}
    await withBaggage({ user_id: 'mallory', region: 'eu', encoded: 'x%2By 50%25+1' }, async () => {
      await start({ user_id: 'alice', tier: 'gold' });
      await new Promise((resolve) => setTimeout(resolve, 1));
      await start(undefined); // the context goes along
    });
    await start({ tier: 'gold' });
    await withBaggage({}, () => start({ tier: 'gold' }));
    await client.close();
    `,
    { args: [agent.address], cwd: PACKAGE },
  );
  const baggage = { user_id: 'mallory', region: 'eu', encoded: 'x%2By 50%25+1' };
  assert.deepEqual(labelsOf(await agent.report()), [
    { ...baggage, user_id: 'alice', tier: 'gold' }, baggage, { tier: 'gold' }, { tier: 'gold' },
  ]);
});

test('baggage that is broken is left out', async (t) => {
  const agent = await startFakeAgent(t);
  await runModule(
    `${REGISTER}${FLOWS}
    await withBaggage({ number: 5, nothing: undefined, good: 'yes', lone: 'a\\ud800' }, () => start({ tier: 'gold' }));
    const broken = { getAllEntries() { throw new Error('broken'); } };
    await context.with(propagation.setBaggage(context.active(), broken), () => start({ tier: 'gold' }));
    context.disable();
    context.setGlobalContextManager({ active() { throw new Error('broken'); } });
    await start({ tier: 'gold' });
    await client.close();
    `,
    { args: [agent.address], cwd: PACKAGE },
  );
  assert.deepEqual(labelsOf(await agent.report()), [
    { good: 'yes', lone: 'a\ufffd', tier: 'gold' }, { tier: 'gold' }, { tier: 'gold' },
  ]);
});

// A copy of the package that finds no copy of the API by itself, as when both are installed in different places.
function packageWithoutApi(t) {
  const directory = path.join(temporaryDirectory(t), 'libaperture');
  fs.cpSync(PACKAGE, directory, { recursive: true, filter: (file) => !/\/(test|node_modules)$/.test(file) });
  fs.mkdirSync(path.join(directory, 'node_modules'));
  for (const name of ['koffi', '@koromix']) {
    fs.symlinkSync(path.join(PACKAGE, 'node_modules', name), path.join(directory, 'node_modules', name));
  }
  return directory;
}

// A folder of a program that has the packages of OpenTelemetry.
function programWithApi(t) {
  const directory = temporaryDirectory(t);
  fs.mkdirSync(path.join(directory, 'node_modules'));
  fs.symlinkSync(path.join(PACKAGE, 'node_modules/@opentelemetry'), path.join(directory, 'node_modules/@opentelemetry'));
  return directory;
}

const imports = (directory) =>
  `import { ApertureClient } from ${JSON.stringify(pathToFileURL(path.join(directory, 'index.mjs')).href)};`;

const program = (directory) => `${imports(directory)}${REGISTER}${FLOWS}
  await withBaggage({ region: 'eu' }, () => start({ tier: 'gold' }));
  await client.close();
`;

for (const [what, command] of Object.entries({
  "the program's folder": (folder, source) => {
    fs.writeFileSync(path.join(folder, 'main.mjs'), source);
    return { args: [path.join(folder, 'main.mjs')], cwd: '/' };
  },
  'the folder that a program without a file runs in': (folder, source) => ({
    args: ['--input-type=module', '--eval', source], cwd: folder,
  }),
})) {
  test(`the API is found in ${what}`, async (t) => {
    const agent = await startFakeAgent(t);
    const { args, cwd } = command(programWithApi(t), program(packageWithoutApi(t)));
    const env = { ...process.env, APERTURE_LIBRARY: path.join(BUILD, 'libaperture.so') };
    await run(process.execPath, [...args, agent.address], { cwd, env, timeout: HANG_MS });
    assert.deepEqual(labelsOf(await agent.report()), [{ region: 'eu', tier: 'gold' }]);
  });
}

test('an API that cannot be found changes nothing', async (t) => {
  const agent = await startFakeAgent(t);
  const source = `${imports(packageWithoutApi(t))}${FLOWS}
    globalThis[Symbol.for('opentelemetry.js.api.1')] = { version: '1.9.0' };
    await start({ tier: 'gold' });
    await start({ tier: 'gold' });
    await client.close();
  `;
  const env = { ...process.env, APERTURE_LIBRARY: path.join(BUILD, 'libaperture.so') };
  const args = ['--input-type=module', '--eval', source, agent.address];
  const { stderr } = await run(process.execPath, args, { cwd: '/', env, timeout: HANG_MS });
  assert.equal(stderr, '');
  assert.deepEqual(labelsOf(await agent.report()), [{ tier: 'gold' }, { tier: 'gold' }]);
});

test('OpenTelemetry is not loaded for a program that does not use it', async () => {
  const output = await runModule(
    `
    import { createRequire } from 'node:module';
    const client = new ApertureClient({ address: 'local:' });
    await (await client.startFlow('checkout')).end();
    await client.close();
    const loaded = Object.keys(createRequire(process.cwd() + '/x.js').cache);
    console.log(['lib/baggage.cjs', 'opentelemetry'].map((part) => loaded.some((file) => file.includes(part))));
    `,
    { cwd: PACKAGE },
  );
  assert.equal(output, '[ true, false ]\n');
});

test('the package depends on no OpenTelemetry', () => {
  const { dependencies, peerDependenciesMeta } = JSON.parse(fs.readFileSync(path.join(PACKAGE, 'package.json'), 'utf8'));
  assert.deepEqual(Object.keys(dependencies), ['koffi']);
  assert.equal(peerDependenciesMeta['@opentelemetry/api'].optional, true);
});
