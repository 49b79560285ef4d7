// What is not closed by hand is closed by the garbage collector, and what is closed by hand does not wait for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AMPLE_MS, runModule, startFakeAgent } from './support.mjs';

// Collects garbage until a condition holds; fails after ten seconds.
const PRELUDE = `
  async function collectUntil(condition) {
    for (const end = Date.now() + 10_000; !condition() && Date.now() < end; ) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return condition();
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

test('a flow that was ended is released at once', async () => {
  const output = await runModule(
    `${PRELUDE}
    const client = new ApertureClient({ address: 'local:' });
    const flows = [];
    for (let i = 0; i < 100; i++) { flows.push(await client.startFlow('checkout')); await flows.at(-1).end(); }
    console.log(liveHandles(), flows.every((flow) => flow.shouldRun()));
    await client.close();
    `,
    { flags },
  );
  assert.equal(output, '1 true\n');
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

test('memory stays flat over many flows and many refused calls', async () => {
  const output = await runModule(
    `${PRELUDE}
    const client = new ApertureClient({ address: 'local:' });
    const labels = { user_id: 'alice', large: 'x'.repeat(100_000) };
    async function work(count) {
      for (let i = 0; i < count; i++) {
        const flow = await client.startFlow('checkout', { labels });
        flow.setStatus(FlowStatus.Error);
        await flow.end();
        await flow.end();
        await client.startFlow('').catch(() => {});
        await client.startFlow('checkout', { labels: { large: labels.large, wrong: 5 } }).catch(() => {});
      }
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
      globalThis.gc();
      return process.memoryUsage().rss;
    }
    await work(3000);
    const before = await work(2000);
    const after = await work(6000);
    console.log(Math.round((after - before) / 2 ** 20));
    await client.close();
    `,
    { flags },
  );
  // 6000 flows with labels of 100 kB: a leak of any of their texts would be hundreds of MiB.
  assert.ok(Number(output) < 64, `grew by ${output} MiB`);
});
