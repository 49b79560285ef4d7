// The agent's whole answer about a flow.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

import { ApertureClient, CheckResponse } from '../index.mjs';
import {
  AMPLE_MS, PROJECT, closedAddress, leavesNoHandle, openClient, policyFile, startFakeAgent, startScriptedAgent,
} from './support.mjs';

leavesNoHandle();

const { parseCheckResponse } = createRequire(import.meta.url)('../lib/check_response.cjs');

const patient = { checkTimeoutMs: AMPLE_MS };

/** Sees that nothing in a value can be changed, but for the bytes of Buffers. */
function expectFrozen(value) {
  if (value !== null && typeof value === 'object' && !Buffer.isBuffer(value)) {
    assert.ok(Object.isFrozen(value), JSON.stringify(value));
    Object.values(value).forEach(expectFrozen);
  }
}

const unset = {
  start: null,
  end: null,
  services: [],
  controlPoint: '',
  flowLabelKeys: [],
  telemetryFlowLabels: {},
  decisionType: 0,
  rejectReason: 0,
  classifierInfos: [],
  fluxMeterInfos: [],
  limiterDecisions: [],
  waitTime: null,
  deniedResponseStatusCode: 0,
  cacheLookupResponse: null,
  expectEnd: false,
};

const unsetDecision = {
  policyName: '',
  policyHash: '',
  componentId: '',
  dropped: false,
  reason: 0,
  deniedResponseStatusCode: 0,
  waitTime: null,
  rateLimiterInfo: null,
  loadSchedulerInfo: null,
  samplerInfo: null,
  quotaSchedulerInfo: null,
  concurrencyLimiterInfo: null,
  concurrencySchedulerInfo: null,
};

test('an answer arrives whole, and the end changes nothing in it (B11)', async (t) => {
  const tokens_info = { remaining: 1.5, current: -2, consumed: 0 };
  const agent = await startScriptedAgent(t, {
    check: [{
      response: {
        start: '2024-01-31T12:00:00Z',
        end: '2024-01-31T12:00:00.000000001Z',
        services: ['shop', 'any'],
        control_point: 'checkout',
        flow_label_keys: ['user_id'],
        telemetry_flow_labels: { user_id: 'alice', __proto__x: 'x', camel_case_me: 'no' },
        decision_type: 'DECISION_TYPE_REJECTED',
        reject_reason: 'REJECT_REASON_NO_TOKENS',
        classifier_infos: [{ policy_name: 'p', classifier_index: '7', error: 'ERROR_MULTI_EXPRESSION' }],
        flux_meter_infos: [{ flux_meter_name: 'latency' }],
        limiter_decisions: [
          { policy_name: 'p', policy_hash: 'h', component_id: 'c', dropped: true, reason: 1,
            denied_response_status_code: 'TooManyRequests', wait_time: '90061.5s',
            rate_limiter_info: { label: 'user_id:alice', tokens_info } },
          { load_scheduler_info: { workload_index: '1', tokens_info, priority: 255 } },
          { sampler_info: { label: 's' } },
          { quota_scheduler_info: { label: 'q', workload_index: '2', priority: 'Infinity' } },
          { concurrency_limiter_info: { label: 'l', request_id: 'r' } },
          { concurrency_scheduler_info: {} },
        ],
        wait_time: '0.000000001s',
        denied_response_status_code: 'ServiceUnavailable',
        cache_lookup_response: {
          result_cache_response: { value: '/wCA', lookup_status: 'HIT' },
          global_cache_responses: { has_own_property: { lookup_status: 'MISS', operation_status: 'ERROR', error: 'e' } },
        },
        expect_end: true,
      },
    }],
  });
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  const response = flow.checkResponse();
  const tokensInfo = { remaining: 1.5, current: -2, consumed: 0 };
  const expected = {
    start: { seconds: 1706702400, nanos: 0 },
    end: { seconds: 1706702400, nanos: 1 },
    services: ['shop', 'any'],
    controlPoint: 'checkout',
    flowLabelKeys: ['user_id'],
    telemetryFlowLabels: { user_id: 'alice', __proto__x: 'x', camel_case_me: 'no' },
    decisionType: CheckResponse.DecisionType.REJECTED,
    rejectReason: CheckResponse.RejectReason.NO_TOKENS,
    classifierInfos: [{
      policyName: 'p', policyHash: '', classifierIndex: 7, error: CheckResponse.ClassifierError.MULTI_EXPRESSION,
    }],
    fluxMeterInfos: [{ fluxMeterName: 'latency' }],
    limiterDecisions: [
      { ...unsetDecision, policyName: 'p', policyHash: 'h', componentId: 'c', dropped: true,
        reason: CheckResponse.LimiterReason.KEY_NOT_FOUND, deniedResponseStatusCode: 429,
        waitTime: { seconds: 90061, nanos: 500_000_000 }, rateLimiterInfo: { label: 'user_id:alice', tokensInfo } },
      { ...unsetDecision, loadSchedulerInfo: { workloadIndex: '1', tokensInfo, priority: 255 } },
      { ...unsetDecision, samplerInfo: { label: 's' } },
      { ...unsetDecision, quotaSchedulerInfo: { label: 'q', workloadIndex: '2', tokensInfo: null, priority: Infinity } },
      { ...unsetDecision, concurrencyLimiterInfo: { label: 'l', tokensInfo: null, requestId: 'r' } },
      { ...unsetDecision,
        concurrencySchedulerInfo: { label: '', workloadIndex: '', tokensInfo: null, priority: 0, requestId: '' } },
    ],
    waitTime: { seconds: 0, nanos: 1 },
    deniedResponseStatusCode: 503,
    cacheLookupResponse: {
      resultCacheResponse: {
        value: Buffer.from([0xff, 0x00, 0x80]), lookupStatus: CheckResponse.CacheLookupStatus.HIT,
        operationStatus: CheckResponse.CacheOperationStatus.SUCCESS, error: '',
      },
      globalCacheResponses: {
        has_own_property: {
          value: Buffer.alloc(0), lookupStatus: CheckResponse.CacheLookupStatus.MISS,
          operationStatus: CheckResponse.CacheOperationStatus.ERROR, error: 'e',
        },
      },
    },
    expectEnd: true,
  };
  assert.deepEqual(response, expected);
  expectFrozen(response);
  await flow.end();
  assert.equal(flow.checkResponse(), response);
  assert.deepEqual(response, expected);
});

test('an empty answer has the defaults', async (t) => {
  const agent = await startFakeAgent(t, '--decision', 'empty');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  assert.deepEqual(flow.checkResponse(), unset);
  await flow.end();
});

test('a local decision has an answer too', async (t) => {
  const client = openClient(t, ApertureClient, { address: `local:${policyFile(t)}` });
  for (const [remaining, decisionType] of [[1, 0], [0, 0], [0, 1]]) {
    const flow = await client.startFlow('checkout', { labels: { user_id: 'alice' } });
    const response = flow.checkResponse();
    assert.equal(response.decisionType, decisionType);
    assert.equal(response.controlPoint, 'checkout');
    assert.equal(response.limiterDecisions[0].policyName, 'checkout');
    assert.ok(Math.abs(response.limiterDecisions[0].rateLimiterInfo.tokensInfo.remaining - remaining) < 0.01);
    assert.equal(response.telemetryFlowLabels.user_id, 'alice');
    await flow.end();
    assert.equal(flow.checkResponse(), response);
  }
});

test('a flow about which nothing was decided has no answer', async (t) => {
  const client = openClient(t, ApertureClient, { address: await closedAddress(), insecure: true });
  const flow = await client.startFlow('checkout');
  assert.equal(flow.checkResponse(), null);
  await flow.end();
  assert.equal(flow.checkResponse(), null);
});

test('a large answer arrives whole', async (t) => {
  const agent = await startFakeAgent(t, '--in-flight', '2000');
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', patient);
  const { limiterDecisions } = flow.checkResponse();
  assert.equal(new Set(limiterDecisions.map((decision) => decision.concurrencyLimiterInfo.requestId)).size, 2000);
  await flow.end();
});

for (const [what, json, field, value] of [
  ['a duration in whole seconds', '{"wait_time":"3s"}', 'waitTime', { seconds: 3, nanos: 0 }],
  ['a negative duration', '{"wait_time":"-0.000000001s"}', 'waitTime', { seconds: 0, nanos: -1 }],
  ['the longest duration', '{"wait_time":"315576000000.999999999s"}', 'waitTime', { seconds: 315576e6, nanos: 999999999 }],
  ['a moment before 1970', '{"start":"1969-12-31T23:59:59.900Z"}', 'start', { seconds: -1, nanos: 900_000_000 }],
  ['the last moment', '{"end":"9999-12-31T23:59:59.999999999Z"}', 'end', { seconds: 253402300799, nanos: 999_999_999 }],
  ['an enumerator of a newer agent', '{"reject_reason":99}', 'rejectReason', 99],
]) {
  test(`${what} is read`, () => {
    assert.deepEqual(parseCheckResponse(json)[field], value);
  });
}

test('labels with names of what objects have are labels', () => {
  const { telemetryFlowLabels } = parseCheckResponse('{"telemetry_flow_labels":{"__proto__":"p","constructor":"c"}}');
  assert.deepEqual(Object.entries(telemetryFlowLabels), [['__proto__', 'p'], ['constructor', 'c']]);
});

// The enumerators and fields of a message or enumeration of the protocol.
function declared(source, name, pattern) {
  const [, indent, body] = new RegExp(`^( *)(?:message|enum) ${name} \\{\n(.*?)\n\\1\\}`, 'ms').exec(source);
  const nested = new RegExp(`^${indent}  (?:message|enum) \\w+ \\{.*?^${indent}  \\}`, 'gms');
  return [...body.replace(nested, '').matchAll(pattern)];
}

test('every field and enumerator of the protocol is there', () => {
  const source = fs.readFileSync(path.join(PROJECT, 'proto/aperture/flowcontrol/check/v1/check.proto'), 'utf8');
  const fieldsOf = (name) =>
    declared(source, name, /^ *(?!reserved|oneof)[\w.<>, ]+ (\w+) = \d+;/gm)
      .map(([, field]) => field.replace(/_(\w)/g, (_, letter) => letter.toUpperCase()));
  const full = parseCheckResponse(JSON.stringify({
    classifier_infos: [{}],
    flux_meter_infos: [{}],
    limiter_decisions: [{
      rate_limiter_info: { tokens_info: {} }, load_scheduler_info: {}, sampler_info: {}, quota_scheduler_info: {},
      concurrency_limiter_info: {}, concurrency_scheduler_info: {},
    }],
    cache_lookup_response: { result_cache_response: {} },
  }));
  const [decision] = full.limiterDecisions;
  for (const [name, object] of Object.entries({
    CheckResponse: full,
    ClassifierInfo: full.classifierInfos[0],
    FluxMeterInfo: full.fluxMeterInfos[0],
    LimiterDecision: decision,
    TokensInfo: decision.rateLimiterInfo.tokensInfo,
    RateLimiterInfo: decision.rateLimiterInfo,
    SchedulerInfo: decision.loadSchedulerInfo,
    SamplerInfo: decision.samplerInfo,
    QuotaSchedulerInfo: decision.quotaSchedulerInfo,
    ConcurrencyLimiterInfo: decision.concurrencyLimiterInfo,
    ConcurrencySchedulerInfo: decision.concurrencySchedulerInfo,
    CacheLookupResponse: full.cacheLookupResponse,
    KeyLookupResponse: full.cacheLookupResponse.resultCacheResponse,
  })) {
    const fields = fieldsOf(name);
    assert.ok(fields.length > 0, name);
    assert.deepEqual(Object.keys(object), fields, name);
  }
  for (const [name, enumeration, prefix] of [
    ['DecisionType', 'DecisionType', 'DECISION_TYPE_'],
    ['RejectReason', 'RejectReason', 'REJECT_REASON_'],
    ['Error', 'ClassifierError', 'ERROR_'],
    ['LimiterReason', 'LimiterReason', 'LIMITER_REASON_'],
    ['CacheLookupStatus', 'CacheLookupStatus', ''],
    ['CacheOperationStatus', 'CacheOperationStatus', ''],
  ]) {
    const enumerators = declared(source, name, /^ *(\w+) = (\d+);/gm)
      .map(([, enumerator, number]) => [enumerator.slice(prefix.length), Number(number)]);
    assert.ok(enumerators.length > 0, name);
    assert.deepEqual(Object.entries(CheckResponse[enumeration]), enumerators, name);
  }
});
