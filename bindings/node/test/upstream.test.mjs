// A program for the upstream package, word for word but for the import and the credentials.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApertureClient, FlowStatus, LookupStatus } from '../index.mjs';
import { AMPLE_MS, leavesNoHandle, startFakeAgent } from './support.mjs';

leavesNoHandle();

async function serve(apertureClient, user) {
  const flow = await apertureClient.startFlow('checkout', {
    labels: { user_id: user },
    grpcCallOptions: { deadline: Date.now() + AMPLE_MS },
    rampMode: false,
    resultCacheKey: user,
    globalCacheKeys: ['currency'],
  });
  let answer;
  if (flow.shouldRun()) {
    if (flow.resultCache().getLookupStatus() === LookupStatus.Hit) {
      answer = flow.resultCache().getValue().toString();
    } else {
      answer = `a cart of ${user}`;
      const ttl = { seconds: 60, nanos: 0 };
      const stored = await flow.setResultCache({ value: Buffer.from(answer), ttl });
      assert.equal(stored.getError(), null);
      const shared = await flow.setGlobalCache('currency', { value: Buffer.from('EUR'), ttl });
      assert.equal(shared.getError(), null);
    }
    flow.setStatus(FlowStatus.OK);
  } else {
    flow.setStatus(FlowStatus.Error);
    answer = String(flow.httpResponseCode());
  }
  const end = await flow.end();
  assert.equal(end.getError(), null);
  return answer;
}

for (const [decision, answer, status] of [['accept', 'a cart of alice', 'OK'], ['reject', '429', 'Error']]) {
  test(`a program for the upstream package runs, where the agent says ${decision}`, async (t) => {
    const agent = await startFakeAgent(t, '--decision', decision);
    const apertureClient = new ApertureClient({ address: agent.address, apiKey: 'key', insecure: true });
    assert.deepEqual([await serve(apertureClient, 'alice'), await serve(apertureClient, 'alice')], [answer, answer]);
    await apertureClient.shutdown();
    const report = await agent.report();
    assert.deepEqual(report.api_keys, ['key']);
    assert.equal(report.cache_upsert_count, decision === 'accept' ? 2 : 0);
    assert.deepEqual(report.spans.map((span) => span.attributes['aperture.flow.status']), [status, status]);
  });
}
