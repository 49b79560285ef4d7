// Processes that a program starts while it has clients: cluster and child_process execute Node anew, so each has a
// library of its own.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import {
  AMPLE_MS, IMPORTS, LEAVES_NO_HANDLE, leavesNoHandle, policyFile, runModule, startApertureLocal, temporaryDirectory,
} from './support.mjs';

leavesNoHandle();

// Starts flows with a client of its own, and tells its parent what came of them.
const CHILD = `${IMPORTS}
  const [address, user] = process.argv.slice(2);
  const client = new ApertureClient({ address, insecure: true });
  await client.waitReady(${AMPLE_MS});
  const decisions = [];
  for (let i = 0; i < 3; i++) {
    const flow = await client.startFlow('checkout', { labels: { user_id: user }, checkTimeoutMs: ${AMPLE_MS} });
    decisions.push(flow.decision());
    await flow.end();
  }
  await client.close();
  process.send(decisions.join(' '), () => process.disconnect());
`;

const PARENT = `
  import { fork } from 'node:child_process';
  import cluster from 'node:cluster';
  import { once } from 'node:events';
  const [how, file, address] = process.argv.slice(1);
  const execArgv = ${JSON.stringify(LEAVES_NO_HANDLE)};
  const client = new ApertureClient({ address, insecure: true });
  const decide = async () => {
    const params = { labels: { user_id: 'parent' }, checkTimeoutMs: ${AMPLE_MS} };
    const flow = await client.startFlow('checkout', params);
    await flow.end();
    return flow.decision();
  };
  await client.waitReady(${AMPLE_MS});
  console.log(await decide());
  const open = await client.startFlow('elsewhere', { checkTimeoutMs: ${AMPLE_MS} });
  const start = (number) => {
    const args = [address, 'child-' + number];
    if (how === 'child_process.fork') return fork(file, args, { execArgv });
    cluster.setupPrimary({ exec: file, args, execArgv });
    return cluster.fork();
  };
  const children = [0, 1, 2].map((number) => start(number));
  const messages = children.map((child) => once(child, 'message'));
  const ends = children.map((child) => once(child, 'exit'));
  for (const [decisions] of await Promise.all(messages)) console.log(decisions);
  console.log((await Promise.all(ends)).map(([code, signal]) => code ?? signal).join(' '));
  await open.end();
  console.log(await decide(), await decide());
  await client.close();
`;

for (const how of ['child_process.fork', 'cluster']) {
  test(`the processes of ${how} decide while their parent has a client and an open flow`, async (t) => {
    const file = path.join(temporaryDirectory(t), 'child.mjs');
    fs.writeFileSync(file, CHILD);
    const { address } = await startApertureLocal(t, policyFile(t, { capacity: 2, interval: '3600s' }));
    const output = await runModule(PARENT, { args: [how, file, address] });
    const child = 'Accepted Accepted Rejected\n';
    assert.equal(output, `Accepted\n${child.repeat(3)}0 0 0\nAccepted Rejected\n`);
  });
}
