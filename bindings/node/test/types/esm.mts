// Compiled, not run: how a TypeScript program uses the package, and what the declarations must refuse.

import {
  ApertureClient, ApertureError, CacheLookupResponse, CheckResponse, ConnectionState, EndResponse, Flow, FlowDecision,
  FlowRejectedError, FlowStatus, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, LookupStatus, RejectReason,
  configure,
  type ApertureErrorCode, type CacheCallOptions, type CacheEntry, type ClientOptions,
  type Duration, type FlowEndResponse, type FlowParams, type GuardParams,
  type LogLevel,
  type ProcessOptions, type Stats,
} from 'libaperture';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._: Equal<A, B> extends true ? [] : [never]): void {}

const options: ClientOptions = { address: '127.0.0.1:8080', apiKey: process.env['APERTURE_API_KEY'], insecure: true };

export async function handle(userId: string): Promise<number> {
  const client = new ApertureClient(options);
  await client.waitReady(5000);
  const params: FlowParams = { labels: { user_id: userId }, rampMode: false, checkTimeoutMs: 250 };
  const flow = await client.startFlow('checkout', params);
  try {
    if (!flow.shouldRun()) {
      const wait: Duration | null = flow.retryAfter();
      console.log(wait?.seconds.toFixed(0), wait?.nanos.toFixed(0));
      return flow.httpResponseCode();
    }
    return 200;
  } catch (error) {
    flow.setStatus(FlowStatus.Error);
    throw error;
  } finally {
    const end = await flow.end();
    if (end.getError()) {
      console.error(end.getError()?.message);
    }
    await client.shutdown();
  }
}

export function setUp(options: ProcessOptions): void {
  same<ReturnType<typeof configure>, void>();
  same<LogLevel, 'debug' | 'info' | 'warning' | 'error'>();
  configure();
  configure(options);
  configure({ logFd: 2, logLevel: 'error', maxProcs: undefined, leaveSignalHandlers: true });
  // @ts-expect-error: there is no such level
  configure({ logLevel: 'warn' });
  // @ts-expect-error: there is no such option
  configure({ log_fd: 2 });
  // @ts-expect-error: a descriptor is a number
  configure({ logFd: '2' });
}

export async function checkTypes(client: ApertureClient): Promise<void> {
  const flow = await client.startFlow('checkout');
  same<typeof flow, Flow>();
  const decision: FlowDecision = flow.decision();
  switch (decision) {
    case FlowDecision.Accepted:
    case FlowDecision.Rejected:
    case 'Unreachable':
      break;
    default:
      same<typeof decision, never>();
  }
  const reason: RejectReason = flow.rejectReason();
  same<typeof reason, 'NONE' | 'RATE_LIMITED' | 'NO_TOKENS' | 'NOT_SAMPLED' | 'NO_MATCHING_RAMP'>();
  const error: Error | null = flow.error();
  if (error instanceof ApertureError) {
    const code: ApertureErrorCode = error.code;
    console.log(code === 'UNREACHABLE');
  }
  const end: EndResponse = await flow.end();
  const response: FlowEndResponse | null = end.getResponse();
  console.log(response?.tokenReturnStatuses[0]?.inflightRequestRef.requestId.length);
  const stats: Stats = client.stats();
  console.log(stats.flowsUnreachable.toFixed());
  same<ReturnType<typeof client.close>, Promise<void>>();
  await client.startFlow('checkout', { grpcCallOptions: { deadline: new Date() }, tryConnect: true });
  await client.startFlow('checkout', { grpcCallOptions: { deadline: Date.now() + 200 } });
  const { signal } = new AbortController();
  await client.startFlow('checkout', { signal });
  await client.waitReady(5000, { signal: AbortSignal.timeout(100) });
  await client.cacheDelete('checkout', { resultCacheKey: 'r' }, { signal });
  const status: FlowStatus = FlowStatus.OK;
  flow.setStatus(status);

  // @ts-expect-error: the address is required
  new ApertureClient({ insecure: true });
  // @ts-expect-error: objects of grpc-js cannot be used
  new ApertureClient({ address: 'a:1', channelCredentials: {} });
  // @ts-expect-error: labels are strings
  await client.startFlow('checkout', { labels: { tier: 1 } });
  // @ts-expect-error: there is no such parameter
  await client.startFlow('checkout', { ramp_mode: true });
  // @ts-expect-error: there is no such status
  flow.setStatus('Ok');
  // @ts-expect-error: flows are made by startFlow
  new Flow();
  // @ts-expect-error: the time is required
  await client.waitReady();
}

export async function checkCaches(client: ApertureClient): Promise<void> {
  const flow = await client.startFlow('checkout', { resultCacheKey: 'r', globalCacheKeys: ['g'] as const });
  const found: KeyLookupResponse = flow.resultCache();
  if (found.getLookupStatus() === LookupStatus.Hit) {
    console.log(found.getValue()?.toString('utf8'), flow.globalCache('g').getError()?.code === 'NO_ANSWER');
  }
  same<ReturnType<typeof found.getLookupStatus>, 'HIT' | 'MISS'>();
  const entry: CacheEntry = { value: Buffer.from('v'), ttl: { seconds: '60', nanos: 0 } };
  const options: CacheCallOptions = { deadline: Date.now() + 100 };
  const stored: KeyUpsertResponse = await flow.setResultCache(entry, options);
  const removed: KeyDeleteResponse = await flow.deleteResultCache({ timeoutMs: 100 });
  console.log(stored.getError()?.message, removed.getError()?.message);
  await flow.setGlobalCache('g', { value: new Uint8Array(3), ttlMs: 500 });
  await flow.deleteGlobalCache('g');
  const answer: CacheLookupResponse = await client.cacheLookup('checkout', { resultCacheKey: 'r' });
  same<ReturnType<typeof answer.globalCache>, KeyLookupResponse>();
  await client.cacheSet('checkout', { globalCacheKey: 'g' }, { value: 'v', ttlMs: 5 });
  await client.cacheDelete('checkout', { resultCacheKey: 'r' }, options);

  // @ts-expect-error: a value lives for some time
  await flow.setResultCache({ value: 'v' });
  // @ts-expect-error: one time to live
  await flow.setResultCache({ value: 'v', ttlMs: 5, ttl: { seconds: 5 } });
  // @ts-expect-error: one key
  await client.cacheDelete('checkout', { resultCacheKey: 'r', globalCacheKey: 'g' });
  // @ts-expect-error: responses are made by the calls
  new KeyLookupResponse();
}

export function checkResponses(flow: Flow): void {
  const response: CheckResponse | null = flow.checkResponse();
  if (response?.decisionType === CheckResponse.DecisionType.REJECTED) {
    const reason: CheckResponse.RejectReason = response.rejectReason;
    console.log(reason === CheckResponse.RejectReason.RATE_LIMITED, response.waitTime?.seconds.toFixed());
  }
  for (const decision of response?.limiterDecisions ?? []) {
    console.log(decision.rateLimiterInfo?.tokensInfo?.remaining.toFixed(), decision.concurrencyLimiterInfo?.requestId);
  }
  const labels: Readonly<Record<string, string>> | undefined = response?.telemetryFlowLabels;
  const value: Buffer | undefined = response?.cacheLookupResponse?.resultCacheResponse?.value;
  console.log(labels?.['user_id'], value?.length);
  if (response !== null) {
    // @ts-expect-error: it is the agent's
    response.controlPoint = '';
    // @ts-expect-error: it is the agent's
    response.services.push('');
  }
}

export function checkOptions(metadata: Record<string, string>): ApertureClient {
  const client = ApertureClient.fromEnvironment({ compression: 'gzip', metadata, apiKey: undefined });
  new ApertureClient({
    address: 'agent:443', caPem: 'x', clientCertificatePem: 'x', clientKeyPem: 'x', skipVerify: false,
    keepaliveTimeMs: 300_000, keepaliveTimeoutMs: 5000, telemetryQueue: 5, telemetryBatch: 5, telemetryIntervalMs: 5,
    maxLabels: 5, maxWaiting: 5, cacheBytes: 1 << 20,
  });
  ApertureClient.fromEnvironment();
  const state: ConnectionState = client.state();
  same<typeof state, 'IDLE' | 'CONNECTING' | 'READY' | 'FAILING' | 'CLOSED'>();
  console.log(state === ConnectionState.Ready, client.getState() === 2);
  // @ts-expect-error: there is no such compression
  ApertureClient.fromEnvironment({ compression: 'zstd' });
  // @ts-expect-error: metadata are texts
  ApertureClient.fromEnvironment({ metadata: { tenant: 5 } });
  return client;
}

export async function checkGuard(client: ApertureClient): Promise<number | null> {
  const params: GuardParams<null> = { labels: { tier: 'gold' }, onReject: (flow) => (flow.retryAfter(), null) };
  const text = await client.guard('checkout', {}, async (flow) => {
    flow.setAttribute('tokens', 5);
    flow.setAttribute('tokens', 5n);
    flow.setAttribute('model', 'large');
    return 'text';
  });
  same<typeof text, string>();
  const result = await client.guard('checkout', params, () => 5);
  same<typeof result, number | null>();
  const flow = await client.startFlow('checkout');
  await flow[Symbol.asyncDispose]();
  try {
    await client.guard('checkout', null, () => {});
  } catch (error) {
    if (error instanceof FlowRejectedError) {
      same<typeof error.code, 'REJECTED'>();
      return error.httpResponseCode + (error.retryAfter?.seconds ?? 0);
    }
    if (error instanceof ApertureError && error.code === 'REJECTED') {
      return 0;
    }
  }
  // @ts-expect-error: the function is required
  await client.guard('checkout', {});
  // @ts-expect-error: an attribute is a text or a number
  flow.setAttribute('ok', true);
  // @ts-expect-error: flows are guarded, not errors made
  new FlowRejectedError();
  return result;
}
