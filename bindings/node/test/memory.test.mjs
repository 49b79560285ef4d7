// What is not closed by hand is closed by the garbage collector, and what is closed by hand does not wait for it.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

import {
  AMPLE_MS, HANG_MS, closedAddress, policyFile, runModule, startFakeAgent, temporaryDirectory, until,
} from './support.mjs';

const { KEPT_FLOWS } = createRequire(import.meta.url)('../lib/ended_flows.cjs');

// Collects garbage until a condition holds; fails after ten seconds.
const PRELUDE = `
  async function collectUntil(condition) {
    for (const end = Date.now() + 10_000; !condition() && Date.now() < end; ) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return condition();
  }
  async function residentMemory() {
    for (let i = 0; i < 3; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 20)); // finalisers run in between
    }
    return process.memoryUsage().rss;
  }
`;

const flags = ['--expose-gc'];

test('flows that nobody ends are released', async () => {
  const output = await runModule(
    `${PRELUDE}
    const client = new ApertureClient({ address: 'local:' });
    for (let i = 0; i < 1000; i++) await client.startFlow('checkout');
    console.log(liveHandles() > 1);
    console.log(await collectUntil(() => liveHandles() === 1));
    await client.close();
    console.log(liveHandles());
    `,
    { flags },
  );
  assert.equal(output, 'true\ntrue\n0\n');
});

for (const [what, drop] of Object.entries({
  'that nobody ends': 'await client.startFlow(...args);',
  'whose promise nobody awaits': 'client.startFlow(...args);',
})) {
  test(`flows ${what} are ended with the status Error, give back their tokens and are counted`, async (t) => {
    const agent = await startFakeAgent(t, '--in-flight', '1');
    const mayClose = path.join(temporaryDirectory(t), 'tokens-are-back');
    const running = runModule(
      `${PRELUDE}
      import { existsSync } from 'node:fs';
      const client = new ApertureClient({ address: process.argv[1], insecure: true });
      await client.waitReady(${AMPLE_MS});
      const args = ['checkout', { checkTimeoutMs: ${AMPLE_MS} }];
      for (let i = 0; i < 20; i++) { ${drop} }
      const ended = await client.startFlow(...args);
      await ended.end();
      console.log(await collectUntil(() => client.stats().flowsNeverEnded === 20));
      console.log(await collectUntil(() => client.stats().spansExported === 21), client.stats().flowsEnded, liveHandles());
      console.log(await collectUntil(() => existsSync(process.argv[2])));
      await client.close();
      `,
      { flags, args: [agent.address, mayClose] },
    );
    await Promise.race([running, until(async () => (await agent.look()).flow_end_count === 21)]);
    fs.writeFileSync(mayClose, '');
    const output = await running;
    assert.equal(output, 'true\ntrue 21 2\ntrue\n', 'the handles of the client and of the flow that was ended');
    const { flow_ends: ends, spans } = await agent.report();
    assert.equal(new Set(ends.flatMap((end) => end.request_ids)).size, 21);
    const statuses = spans.map((span) => span.attributes['aperture.flow.status']);
    assert.deepEqual(statuses.sort(), [...Array(20).fill('Error'), 'OK']);
  });
}

test('a flow gives back its tokens when its client becomes garbage with it', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1');
  const output = await runModule(
    `${PRELUDE}
    await new ApertureClient({ address: process.argv[1], insecure: true })
      .startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
    console.log(await collectUntil(() => liveHandles() === 0));
    `,
    { flags, args: [agent.address] },
  );
  assert.equal(output, 'true\n');
  const { flow_ends: ends, spans } = await agent.report();
  assert.equal(ends.length, 1);
  assert.equal(spans[0].attributes['aperture.flow.status'], 'Error');
});

test('of the flows that were ended the last ones are kept, whatever the garbage collector does', async () => {
  const output = await runModule(
    `${PRELUDE}
    const client = new ApertureClient({ address: 'local:' });
    const flows = [];
    const counts = [];
    for (const count of [${KEPT_FLOWS}, 1, ${2.5 * KEPT_FLOWS}]) {
      for (let i = 0; i < count; i++) { flows.push(await client.startFlow('checkout')); await flows.at(-1).end(); }
      counts.push(liveHandles());
    }
    console.log(...counts, flows.every((flow) => flow.shouldRun()));
    flows.length = 0;
    await residentMemory();
    console.log(liveHandles());
    await client.close();
    console.log(liveHandles());
    `,
    { flags },
  );
  const kept = 1 + KEPT_FLOWS; // and the client
  assert.equal(output, `${kept} ${kept} ${kept} true\n${kept}\n0\n`);
});

test('a client that nobody closes is closed when neither it nor a flow of it is left', async (t) => {
  const agent = await startFakeAgent(t);
  const output = await runModule(
    `${PRELUDE}
    let flow = await new ApertureClient({ address: process.argv[1], insecure: true })
      .startFlow('checkout', { checkTimeoutMs: ${AMPLE_MS} });
    for (let i = 0; i < 5; i++) { globalThis.gc(); await new Promise((resolve) => setTimeout(resolve, 5)); }
    console.log(flow.decision(), liveHandles());
    await flow.end();
    flow = null;
    console.log(await collectUntil(() => liveHandles() === 0));
    `,
    { flags, args: [agent.address] },
  );
  assert.equal(output, 'Accepted 2\ntrue\n');
  assert.equal((await agent.report()).span_count, 1, 'the span was sent');
});

test('the texts of flows and of refused calls are released', async () => {
  const output = await runModule(
    `${PRELUDE}
    const client = new ApertureClient({ address: 'local:' });
    const labels = { user_id: 'alice', large: 'x'.repeat(100_000) };
    async function work(count) {
      for (let i = 0; i < count; i++) {
        await (await client.startFlow('checkout', { labels })).end();
        await client.startFlow('').catch(() => {});
        await client.startFlow('checkout', { labels: { large: labels.large, wrong: 5 } }).catch(() => {});
      }
      return residentMemory();
    }
    await work(2000);
    const before = await work(1000);
    const after = await work(3000);
    console.log((after - before) / 2 ** 20 | 0);
    await client.close();
    `,
    { flags },
  );
  // 3000 flows with labels of 100 kB: a leak of any of their texts would be hundreds of MiB.
  assert.ok(Number(output) < 64, `grew by ${output} MiB`);
});

// The paths that a flow can take, with how often each is taken. Those with an agent, which cost much more time, are
// fewer.
const PATHS = {
  accepted: [
    1_000_000,
    `const flow = await local.startFlow('checkout', { labels });
     await flow.end();`,
  ],
  failed: [
    50_000,
    `const flow = await local.startFlow('checkout', { labels });
     flow.setStatus(FlowStatus.Error);
     try { flow.setStatus('wrong'); } catch (error) { seen = error; }
     await flow.end();`,
  ],
  rejected: [
    100_000,
    `const flow = await limited.startFlow('checkout', { labels });
     seen = flow.retryAfter();
     await flow.end();`,
  ],
  'ended twice': [
    50_000,
    `const flow = await local.startFlow('checkout');
     await flow.end();
     seen = (await flow.end()).getError();`,
  ],
  'refused by the package': [
    50_000,
    `await local.startFlow('checkout', { labels: { user_id: 5 } }).catch((error) => { seen = error; });`,
  ],
  'refused by the library': [
    50_000,
    `await local.startFlow('').catch((error) => { seen = error; });`,
  ],
  'a client that is refused': [
    20_000,
    `try { new ApertureClient({ address: 'no port here' }); } catch (error) { seen = error; }`,
  ],
  unreachable: [
    10_000,
    `const flow = await down.startFlow('checkout', { labels });
     seen = flow.error();
     await flow.end();`,
  ],
  'with caches': [
    50_000,
    `const flow = await local.startFlow('checkout', { labels, resultCacheKey: 'r', globalCacheKeys: ['g', 'h'] });
     seen = flow.resultCache();
     await flow.setResultCache({ value: large, ttlMs: 1 });
     await local.cacheLookup('checkout', { globalCacheKeys: ['g'] });
     await flow.end();`,
  ],
  'asked of an agent, with tokens': [
    3_000,
    `const flow = await agent.startFlow('checkout', { labels, checkTimeoutMs: ${AMPLE_MS} });
     seen = (await flow.end()).getResponse();`,
  ],
};

test('resident memory is flat over a million flows, accepted, rejected and failing', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '1', '--keep', '-1');
  const output = await runModule(
    `${PRELUDE}
    const [policy, closedAddress, agentAddress] = process.argv.slice(1);
    const local = new ApertureClient({ address: 'local:' });
    const limited = new ApertureClient({ address: 'local:' + policy });
    const down = new ApertureClient({ address: closedAddress, insecure: true });
    const agent = new ApertureClient({ address: agentAddress, insecure: true });
    const labels = { user_id: 'alice', tier: 'gold' };
    const large = Buffer.alloc(1000);
    let seen;
    const paths = {${Object.entries(PATHS).map(([name, [count, work]]) => `
      ${JSON.stringify(name)}: async (share) => { for (let i = 0; i < ${count} * share; i++) { ${work} } },`).join('')}
    };
    async function work(share) {
      const grown = {};
      for (const [name, take] of Object.entries(paths)) {
        const before = await residentMemory();
        await take(share);
        grown[name] = (await residentMemory() - before) / 2 ** 20 | 0;
      }
      return grown;
    }
    await agent.waitReady(${AMPLE_MS});
    await work(0.5);
    const before = await residentMemory();
    const grown = await work(1);
    console.log(JSON.stringify([(await residentMemory() - before) / 2 ** 20 | 0, grown]));
    const handles = liveHandles();
    await Promise.all([local, limited, down, agent].map((client) => client.close()));
    console.log(handles);
    `,
    { flags, args: [policyFile(t), await closedAddress(), agent.address], hangMs: 5 * HANG_MS },
  );
  const [sizes, handles] = output.trimEnd().split('\n').map((line) => JSON.parse(line));
  t.diagnostic(JSON.stringify(sizes));
  assert.equal(handles, 4 + 3 * KEPT_FLOWS, 'handles of the clients, and of flows of those that decide');
  // 1.3 million calls: 24 MiB are 19 bytes for each, less than the smallest thing that could be kept of one.
  assert.ok(sizes[0] < 24, `grew by ${JSON.stringify(sizes)} MiB`);
});
