/// <reference types="node" />

// What TypeScript declares itself with lib esnext.disposable, for those that lack it.
declare global {
  interface SymbolConstructor {
    readonly asyncDispose: unique symbol;
  }
}

/** Describes the client to make. */
export interface ClientOptions {
  /**
   * `host:port`, `dns:///name:port` or `unix:///path` reach an agent over gRPC; `local:` decides in this process and
   * accepts everything; `local:policies.yaml` decides in this process by that file. Several paths have commas between
   * them (`local:limits.yaml,quota.yaml`), and a directory stands for its files `*.yaml` and `*.yml`.
   */
  readonly address: string;
  /** Sent as `x-api-key` with every call; printable ASCII. */
  readonly apiKey?: string | undefined;
  /** No TLS. Without it the agent's certificate is checked. */
  readonly insecure?: boolean | undefined;
  /** Path of a PEM file with the authorities to trust, instead of the system's. */
  readonly caFile?: string | undefined;
  /** What caFile names, as text. */
  readonly caPem?: string | undefined;
  /** Name that the agent's certificate must have, instead of the host of the address. */
  readonly serverName?: string | undefined;
  /** Path of a PEM file with the certificate that the client shows to the agent; clientKeyFile belongs to it. */
  readonly clientCertificateFile?: string | undefined;
  /** Path of a PEM file with the key of clientCertificateFile, not encrypted. */
  readonly clientKeyFile?: string | undefined;
  /** What clientCertificateFile names, as text. */
  readonly clientCertificatePem?: string | undefined;
  /** What clientKeyFile names, as text. */
  readonly clientKeyPem?: string | undefined;
  /** TLS that trusts every certificate, and so protects from nobody who can take the agent's place; for tests. */
  readonly skipVerify?: boolean | undefined;
  /** How messages to the agent are compressed; `none` if left out. */
  readonly compression?: 'none' | 'gzip' | undefined;
  /** Sent as gRPC metadata with every call: at most 64 entries with 8,192 bytes together, in printable ASCII. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /**
   * How long a connection with calls may be silent until the client pings it, in milliseconds, at least five minutes: an
   * agent ends connections that are pinged more often. 0 or left out: no pings.
   */
  readonly keepaliveTimeMs?: number | undefined;
  /** How long a ping may be unanswered until the connection is given up, in milliseconds. 0 or left out: 20,000. */
  readonly keepaliveTimeoutMs?: number | undefined;
  /** Put in front of the library's own user agent. */
  readonly userAgent?: string | undefined;
  /** Whether a span is sent for each flow that ends; true if left out. */
  readonly telemetry?: boolean | undefined;
  /** How many spans may wait to be sent; more are dropped, and counted. 0 or left out: 16,384. */
  readonly telemetryQueue?: number | undefined;
  /** How many spans are sent together at most. 0 or left out: 512. */
  readonly telemetryBatch?: number | undefined;
  /** How long a span waits at most until it is sent, in milliseconds. 0 or left out: 1,000. */
  readonly telemetryIntervalMs?: number | undefined;
  /** How long giving back in-flight tokens may take, in milliseconds. 0 or left out: one second. */
  readonly flowEndTimeoutMs?: number | undefined;
  /** How many calls may be pending; a flow over it is decided at once as unreachable. 0 or left out: 65,536. */
  readonly maxPendingCalls?: number | undefined;
  /**
   * How many label values each component of an engine in this process keeps state for; one more takes the place of the
   * one that was not used for longest. 0 or left out: 1,000,000. With an agent this and the two that follow have no
   * effect.
   */
  readonly maxLabels?: number | undefined;
  /**
   * How many flows may wait in each scheduler of an engine in this process; one more is rejected. 0 or left out:
   * 100,000.
   */
  readonly maxWaiting?: number | undefined;
  /**
   * How much memory the caches of an engine in this process take together at most, in bytes, from 1,048,576; when they
   * are full, the entry that was not used for longest goes. 0 or left out: 67,108,864.
   */
  readonly cacheBytes?: number | undefined;
  /** Not usable here: gRPC objects cannot reach the library. A value is refused with what to give instead. */
  readonly channelCredentials?: undefined;
  /** Not usable here. A value is refused with what to give instead. */
  readonly channelOptions?: undefined;
}

/** Describes the flow to start. It is read during the call only, and never changed. */
export interface FlowParams {
  /** Describe the flow. Lone surrogates become U+FFFD. Together they may have 4,000,000 bytes. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Reject unless a load ramp admits the flow, also when the agent is unreachable. */
  readonly rampMode?: boolean | undefined;
  /** How long the decision may take, in milliseconds: 200 if left out, at most 24 hours; 0 means those 24 hours. */
  readonly checkTimeoutMs?: number | undefined;
  /** Which entry of the result cache to look up with the decision, for flow.resultCache(). */
  readonly resultCacheKey?: string | undefined;
  /** Which entries of the global cache to look up with the decision, for flow.globalCache(key). */
  readonly globalCacheKeys?: readonly string[] | undefined;
  /**
   * Gives up when it is aborted, at the agent too: the promise rejects with the signal's reason, and what the agent has
   * admitted is given back.
   */
  readonly signal?: AbortSignal | undefined;
  /** Upstream's form of the timeout. */
  readonly grpcCallOptions?: GrpcCallOptions | undefined;
  /** Upstream's; it means nothing there either. */
  readonly tryConnect?: boolean | undefined;
}

/** Describes the flow that client.guard starts. */
export interface GuardParams<Result = never> extends FlowParams {
  /** Called instead of throwing when the flow must not run; guard returns what it returns. */
  readonly onReject?: ((flow: Flow) => Result | PromiseLike<Result>) | undefined;
}

export interface GrpcCallOptions {
  /**
   * When the decision must be there: milliseconds since 1970, or a Date; Infinity means 24 hours. A time in the past is
   * refused, so that params that are used again do not fail open unnoticed. Give checkTimeoutMs for those.
   */
  readonly deadline?: Date | number | undefined;
}

/**
 * How serious a line of the log is. A level includes all that is more serious: `warning` is what an operator should
 * know, such as decisions that could not be had; `error` what an operator must repair, and defects of the library.
 */
export type LogLevel = 'debug' | 'info' | 'warning' | 'error';

/** What holds for the whole process, whichever of its threads sets it. */
export interface ProcessOptions {
  /**
   * A file descriptor that the library writes its log to, line by line; it is duplicated, so that the caller may close
   * it. Left out: no log.
   */
  readonly logFd?: number | undefined;
  /** The least serious level that is written; `warning` if left out. */
  readonly logLevel?: LogLevel | undefined;
  /** How many threads may run the library's code at the same time, 1 to 1024. Left out: as many as there are CPUs. */
  readonly maxProcs?: number | undefined;
  /**
   * Do not add SA_ONSTACK to the signal handlers of the process; false if left out. Without that flag a signal that
   * meets a thread inside the library corrupts memory, and the handlers of Node itself lack it.
   */
  readonly leaveSignalHandlers?: boolean | undefined;
}

/**
 * Sets what holds for the whole process, before the first client or at any time later. Every call sets every option:
 * what is left out gets its default.
 *
 * @throws {ApertureError} INVALID_ARGUMENT and RESOURCE_EXHAUSTED, and nothing is changed then; LIBRARY_NOT_LOADED.
 */
export declare function configure(options?: ProcessOptions): void;

/** Bounds a call to the cache. */
export interface CacheCallOptions {
  /** How long the call may take, in milliseconds: 1,000 if left out, at most 24 hours; 0 means those 24 hours. */
  readonly timeoutMs?: number | undefined;
  /** Upstream's form of the timeout: see GrpcCallOptions. */
  readonly deadline?: Date | number | undefined;
  /**
   * Gives up when it is aborted: the promise rejects with the signal's reason. Whether a value was stored or removed is
   * not known then.
   */
  readonly signal?: AbortSignal | undefined;
}

export interface WaitOptions {
  /** Gives up when it is aborted: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

interface CacheValue {
  /** What to store: bytes, or text as UTF-8; it may be empty, and have 4,000,000 bytes with its key and control point. */
  readonly value: Uint8Array | string;
}

/** A value to store in a cache, and how long it lives: more than 0, and at most 7 days, to which a longer time is cut. */
export type CacheEntry =
  | (CacheValue & { readonly ttl: TimeToLive; readonly ttlMs?: undefined })
  | (CacheValue & { readonly ttl?: undefined; /** In milliseconds. */ readonly ttlMs: number });

/** Upstream's form of a time span; what is left out is 0. */
export interface TimeToLive {
  /** A whole number, or the digits of one. */
  readonly seconds?: number | string | undefined;
  /** 0 to 999,999,999. */
  readonly nanos?: number | undefined;
}

/** Which entries of the caches to look up. */
export interface CacheKeys {
  /** In the result cache of the control point. */
  readonly resultCacheKey?: string | undefined;
  /** In the global cache, which all control points share. */
  readonly globalCacheKeys?: readonly string[] | undefined;
}

/** One entry of a cache. */
export type CacheKey =
  | {
      /** In the result cache of the control point. */
      readonly resultCacheKey: string;
      readonly globalCacheKey?: undefined;
    }
  | {
      readonly resultCacheKey?: undefined;
      /** In the global cache. */
      readonly globalCacheKey: string;
    };

/** Whether a cache had an entry. */
export declare const LookupStatus: {
  readonly Hit: 'HIT';
  readonly Miss: 'MISS';
};
export type LookupStatus = (typeof LookupStatus)[keyof typeof LookupStatus];

/** What a cache had under a key. */
export declare class KeyLookupResponse {
  private constructor();
  /** The value of a hit, which may be empty; null for a miss. */
  getValue(): Buffer | null;
  /** A miss also when it is not known: see getError(). */
  getLookupStatus(): LookupStatus;
  /**
   * Why it is not known whether there is an entry, or null: UNREACHABLE, AGENT (what the agent says about this entry) or
   * NO_ANSWER (it was not asked, or the flow was rejected before it looked).
   */
  getError(): ApertureError | null;
}

/** What came of storing a value. */
export declare class KeyUpsertResponse {
  private constructor();
  /** What went wrong, or null. */
  getError(): ApertureError | null;
}

/** What came of removing an entry. */
export declare class KeyDeleteResponse {
  private constructor();
  /** What went wrong, or null. That there was no entry is no error. */
  getError(): ApertureError | null;
}

/** What client.cacheLookup found. */
export declare class CacheLookupResponse {
  private constructor();
  /** What the result cache had. */
  resultCache(): KeyLookupResponse;
  /** What the global cache had under a key. */
  globalCache(key: string): KeyLookupResponse;
  /** Why nothing was found out, or null; the responses about each key have it too. */
  getError(): ApertureError | null;
}

/** How the work of a flow went. */
export declare const FlowStatus: {
  readonly OK: 'OK';
  readonly Error: 'Error';
};
export type FlowStatus = (typeof FlowStatus)[keyof typeof FlowStatus];

/** What was decided about a flow. */
export declare const FlowDecision: {
  readonly Accepted: 'Accepted';
  readonly Rejected: 'Rejected';
  /** Nothing was decided: the flow runs (fail-open), except in ramp mode. */
  readonly Unreachable: 'Unreachable';
};
export type FlowDecision = (typeof FlowDecision)[keyof typeof FlowDecision];

/** What rejected a flow. */
export declare const RejectReason: {
  /** The flow was not rejected. */
  readonly None: 'NONE';
  /** A rate limiter or a concurrency limiter. */
  readonly RateLimited: 'RATE_LIMITED';
  /** A scheduler. */
  readonly NoTokens: 'NO_TOKENS';
  /** A sampler. */
  readonly NotSampled: 'NOT_SAMPLED';
  /** In ramp mode, no load ramp admitted the flow. */
  readonly NoMatchingRamp: 'NO_MATCHING_RAMP';
};
export type RejectReason = (typeof RejectReason)[keyof typeof RejectReason];

/** Why nothing was decided about a flow. */
export declare const UnreachableReason: {
  /** There is a decision. */
  readonly None: 'NONE';
  /** No answer came within the timeout of the check. */
  readonly Timeout: 'TIMEOUT';
  /** There is no connection to the agent, or it broke. */
  readonly Unavailable: 'UNAVAILABLE';
  /** The agent answered with an error of its own. */
  readonly AgentError: 'AGENT_ERROR';
  /** The agent refuses this client, or its certificate is not trusted: the caller's to repair. */
  readonly Misconfigured: 'MISCONFIGURED';
  /** The caller gave up. */
  readonly Cancelled: 'CANCELLED';
  /** The client was closed. */
  readonly Closed: 'CLOSED';
  /** Too many calls of the client were pending. */
  readonly Overloaded: 'OVERLOADED';
};
export type UnreachableReason = (typeof UnreachableReason)[keyof typeof UnreachableReason];

export type ApertureErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_HANDLE'
  | 'CLOSED'
  | 'ALREADY_ENDED'
  | 'UNREACHABLE'
  | 'TIMEOUT'
  | 'CANCELLED'
  | 'POLICY'
  | 'BUFFER_TOO_SMALL'
  | 'RESOURCE_EXHAUSTED'
  | 'INTERNAL'
  /** The handle belongs to the process that this one was forked from. */
  | 'FORKED'
  /** The agent answered with an error about one cache entry. */
  | 'AGENT'
  /** The agent's answer says nothing about a cache entry. */
  | 'NO_ANSWER'
  /** The shared library is missing, or of another version. */
  | 'LIBRARY_NOT_LOADED'
  /** The flow of client.guard must not run: a FlowRejectedError. */
  | 'REJECTED';

/** What went wrong with a call: a code to test and a message to read. */
export declare class ApertureError extends Error {
  protected constructor();
  readonly name: 'ApertureError' | 'FlowRejectedError';
  readonly code: ApertureErrorCode;
}

/** A flow that must not run, as client.guard throws it. */
export declare class FlowRejectedError extends ApertureError {
  private constructor();
  readonly name: 'FlowRejectedError';
  readonly code: 'REJECTED';
  /** Rejected; or Unreachable, when nothing was decided in ramp mode: cause then says why. */
  readonly decision: FlowDecision;
  readonly rejectReason: RejectReason;
  /** As flow.httpResponseCode(). */
  readonly httpResponseCode: number;
  /** As flow.retryAfter(). */
  readonly retryAfter: Duration | null;
}

/** A time span. */
export interface Duration {
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

/** A moment: seconds since 1970, and nanoseconds after them. */
export interface Timestamp {
  readonly seconds: number;
  /** 0 to 999,999,999. */
  readonly nanos: number;
}

type Numbers<Enumeration> = Enumeration[keyof Enumeration];

/**
 * The agent's whole answer about a flow: the protocol's fields in JavaScript's spelling. Scalars that are unset have their
 * defaults, messages that are unset are null, and the keys of maps are as the agent sent them. It is frozen.
 */
export interface CheckResponse {
  /** When the decision began and ended, on the agent's clock. */
  readonly start: Timestamp | null;
  readonly end: Timestamp | null;
  readonly services: readonly string[];
  readonly controlPoint: string;
  readonly flowLabelKeys: readonly string[];
  readonly telemetryFlowLabels: Readonly<Record<string, string>>;
  readonly decisionType: CheckResponse.DecisionType;
  readonly rejectReason: CheckResponse.RejectReason;
  readonly classifierInfos: readonly ClassifierInfo[];
  readonly fluxMeterInfos: readonly FluxMeterInfo[];
  readonly limiterDecisions: readonly LimiterDecision[];
  /** How long a rejected caller should wait. */
  readonly waitTime: Duration | null;
  /** The HTTP status of the policy, or 0. */
  readonly deniedResponseStatusCode: number;
  readonly cacheLookupResponse: {
    readonly resultCacheResponse: CacheAnswer | null;
    readonly globalCacheResponses: Readonly<Record<string, CacheAnswer>>;
  } | null;
  readonly expectEnd: boolean;
}

/** The numbers of the enumerations in a check response. */
export declare const CheckResponse: {
  readonly DecisionType: { readonly ACCEPTED: 0; readonly REJECTED: 1 };
  readonly RejectReason: {
    readonly NONE: 0;
    readonly RATE_LIMITED: 1;
    readonly NO_TOKENS: 2;
    readonly NOT_SAMPLED: 3;
    readonly NO_MATCHING_RAMP: 4;
  };
  readonly LimiterReason: { readonly UNSPECIFIED: 0; readonly KEY_NOT_FOUND: 1 };
  readonly ClassifierError: {
    readonly NONE: 0;
    readonly EVAL_FAILED: 1;
    readonly EMPTY_RESULTSET: 2;
    readonly AMBIGUOUS_RESULTSET: 3;
    readonly MULTI_EXPRESSION: 4;
    readonly EXPRESSION_NOT_MAP: 5;
  };
  readonly CacheLookupStatus: { readonly HIT: 0; readonly MISS: 1 };
  readonly CacheOperationStatus: { readonly SUCCESS: 0; readonly ERROR: 1 };
};
export declare namespace CheckResponse {
  type DecisionType = Numbers<typeof CheckResponse.DecisionType>;
  type RejectReason = Numbers<typeof CheckResponse.RejectReason>;
  type LimiterReason = Numbers<typeof CheckResponse.LimiterReason>;
  type ClassifierError = Numbers<typeof CheckResponse.ClassifierError>;
  type CacheLookupStatus = Numbers<typeof CheckResponse.CacheLookupStatus>;
  type CacheOperationStatus = Numbers<typeof CheckResponse.CacheOperationStatus>;
}

/** What a cache had, as the agent says it. flow.resultCache() and flow.globalCache() are simpler to read. */
export interface CacheAnswer {
  readonly value: Buffer;
  readonly lookupStatus: CheckResponse.CacheLookupStatus;
  readonly operationStatus: CheckResponse.CacheOperationStatus;
  readonly error: string;
}

/** What a classifier did with a flow. */
export interface ClassifierInfo {
  readonly policyName: string;
  readonly policyHash: string;
  readonly classifierIndex: number;
  readonly error: CheckResponse.ClassifierError;
}

/** A flux meter that measures a flow. */
export interface FluxMeterInfo {
  readonly fluxMeterName: string;
}

/** What one limiter decided about a flow. One of the six infos is there; the others are null. */
export interface LimiterDecision {
  readonly policyName: string;
  readonly policyHash: string;
  readonly componentId: string;
  /** Whether it rejected the flow. */
  readonly dropped: boolean;
  readonly reason: CheckResponse.LimiterReason;
  /** The HTTP status that the policy has for rejections, or 0; of accepted flows too. */
  readonly deniedResponseStatusCode: number;
  readonly waitTime: Duration | null;
  readonly rateLimiterInfo: { readonly label: string; readonly tokensInfo: TokensInfo | null } | null;
  readonly loadSchedulerInfo: {
    readonly workloadIndex: string;
    readonly tokensInfo: TokensInfo | null;
    readonly priority: number;
  } | null;
  readonly samplerInfo: { readonly label: string } | null;
  readonly quotaSchedulerInfo: {
    readonly label: string;
    readonly workloadIndex: string;
    readonly tokensInfo: TokensInfo | null;
    readonly priority: number;
  } | null;
  readonly concurrencyLimiterInfo: {
    readonly label: string;
    readonly tokensInfo: TokensInfo | null;
    readonly requestId: string;
  } | null;
  readonly concurrencySchedulerInfo: {
    readonly label: string;
    readonly workloadIndex: string;
    readonly tokensInfo: TokensInfo | null;
    readonly priority: number;
    readonly requestId: string;
  } | null;
}

/** How a bucket of tokens stands after a decision. */
export interface TokensInfo {
  readonly remaining: number;
  readonly current: number;
  readonly consumed: number;
}

/** The agent's answer to the end of a flow. */
export interface FlowEndResponse {
  readonly tokenReturnStatuses: readonly TokenReturnStatus[];
}

export interface TokenReturnStatus {
  readonly inflightRequestRef: InflightRequestRef;
  /** Whether the agent still knew the admission. */
  readonly returned: boolean;
  readonly error: string;
}

export interface InflightRequestRef {
  readonly policyName: string;
  readonly policyHash: string;
  readonly componentId: string;
  readonly label: string;
  readonly requestId: string;
  readonly tokens: number;
}

/** What ending a flow did. */
export declare class EndResponse {
  private constructor();
  /** The agent's answer, or null when no in-flight tokens had to be given back or the agent did not answer. */
  getResponse(): FlowEndResponse | null;
  /** What went wrong, or null. */
  getError(): ApertureError | null;
}

/** One flow, from its decision to its end. Every flow is to be ended once, whether it ran or not. */
export declare class Flow {
  private constructor();
  /** Whether the work should run. */
  shouldRun(): boolean;
  /** Accepted, rejected or unreachable. */
  decision(): FlowDecision;
  /** What rejected the flow. */
  rejectReason(): RejectReason;
  /** Why nothing was decided; `UnreachableReason.None` when there is a decision. */
  unreachableReason(): UnreachableReason;
  /**
   * The HTTP status to answer with: 200 when the work should run; else the policy's, or 429, 503 or 403 by the reject
   * reason; 503 when unreachable in ramp mode.
   */
  httpResponseCode(): number;
  /** How long a rejected caller should wait before it tries again, or null when the decision names no time. */
  retryAfter(): Duration | null;
  /** Why nothing was decided, or null when there is a decision. */
  error(): ApertureError | null;
  /**
   * The agent's whole answer, or null when nothing was decided. What it has returned once it returns for ever, and the end
   * changes nothing in it. The first call may come after the end too: a client keeps the answers of its last 1,000 ended
   * flows that nobody has read, or of fewer when their texts and cached values have more than 16 MiB, until it is closed.
   * @throws {ApertureError} ALREADY_ENDED when the answer is not kept any more.
   */
  checkResponse(): CheckResponse | null;
  /** What the result cache had under the resultCacheKey of the flow. It can be read after the end too. */
  resultCache(): KeyLookupResponse;
  /** What the global cache had under one of the globalCacheKeys of the flow. It can be read after the end too. */
  globalCache(key: string): KeyLookupResponse;
  /**
   * Stores the result of the flow under its resultCacheKey. As the three that follow, it may be called for every flow,
   * also after its end. What goes wrong at the agent is an error of the response.
   *
   * Rejects with INVALID_ARGUMENT and CLOSED.
   */
  setResultCache(entry: CacheEntry, options?: CacheCallOptions): Promise<KeyUpsertResponse>;
  /** Removes what is stored under the resultCacheKey of the flow. */
  deleteResultCache(options?: CacheCallOptions): Promise<KeyDeleteResponse>;
  /** Stores a value in the global cache, under any key. */
  setGlobalCache(key: string, entry: CacheEntry, options?: CacheCallOptions): Promise<KeyUpsertResponse>;
  /** Removes an entry of the global cache, under any key. */
  deleteGlobalCache(key: string, options?: CacheCallOptions): Promise<KeyDeleteResponse>;
  /** Says how the work went; OK if it is never called. The last status before the end counts. */
  setStatus(status: FlowStatus): void;
  /**
   * Gives the flow's span an attribute, such as the number of tokens that a request used; flux meters of policies can
   * measure numbers. A number is sent as an integer if it is a safe one, else as a double. The last value of a key counts.
   *
   * @param key 1 to 256 bytes that do not begin with `aperture.`; a flow has at most 64.
   * @param value A string of at most 65,536 bytes, a finite number, or an integer of 64 bits.
   * @throws {ApertureError} INVALID_ARGUMENT, ALREADY_ENDED.
   */
  setAttribute(key: string, value: string | number | bigint): void;
  /**
   * Ends the flow: gives back the in-flight tokens that it holds, and queues its span. Never rejects; a flow that was
   * ended before gets an error with code ALREADY_ENDED.
   */
  end(): Promise<EndResponse>;
  /** Ends the flow, for `await using`. It knows nothing of an exception: set the status, or use client.guard. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** How a client's connection to its agent is. An engine in this process is always ready. */
export declare const ConnectionState: {
  /** There is no connection; one will be made at once. */
  readonly Idle: 'IDLE';
  /** A connection is being made. */
  readonly Connecting: 'CONNECTING';
  /** The agent can be asked. */
  readonly Ready: 'READY';
  /** The last attempt to connect failed; another one follows. */
  readonly Failing: 'FAILING';
  /** The client is closed, or is being closed. */
  readonly Closed: 'CLOSED';
};
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** Counters of a client since it was made. */
export interface Stats {
  /** Flows that were accepted. */
  readonly flowsAccepted: number;
  /** Flows that were rejected. */
  readonly flowsRejected: number;
  /** Flows about which nothing was decided, for any of the reasons that follow. */
  readonly flowsUnreachable: number;
  /** No answer in time. */
  readonly unreachableTimeout: number;
  /** No connection. */
  readonly unreachableUnavailable: number;
  /** An error of the agent. */
  readonly unreachableAgentError: number;
  /** Refused by the agent or not trusted. */
  readonly unreachableMisconfigured: number;
  /** Given up by the caller. */
  readonly unreachableCancelled: number;
  /** The client was closed meanwhile. */
  readonly unreachableClosed: number;
  /** Too many calls were pending. */
  readonly unreachableOverloaded: number;
  /** Flows that were ended. */
  readonly flowsEnded: number;
  /** Ends whose in-flight tokens could not be given back. */
  readonly flowEndsFailed: number;
  /** Spans that the agent took. */
  readonly spansExported: number;
  /** Spans that were lost because the queue was full or the agent did not take them. */
  readonly spansDropped: number;
  /** Spans that wait. */
  readonly spansQueued: number;
  /** Flows whose labels were not UTF-8 and were repaired. */
  readonly flowsSanitised: number;
  /** Calls that are pending. */
  readonly callsPending: number;
  /** Flows that were lost before anybody had ended them; they count as ended too. */
  readonly flowsNeverEnded: number;
  /** Calls to the cache: look-ups of their own, sets and deletes. */
  readonly cacheCalls: number;
  /** Those of them that the agent could not be reached for, or answered with an error. */
  readonly cacheCallsFailed: number;
}

/** A client: a connection to one Aperture agent, or an engine in this process, with its telemetry. */
export declare class ApertureClient {
  /**
   * Starts to connect in the background; an agent that is down is no error here. Policy files of a local address are
   * read before it returns.
   * @throws {ApertureError} INVALID_ARGUMENT, POLICY, LIBRARY_NOT_LOADED, RESOURCE_EXHAUSTED.
   */
  constructor(options: ClientOptions);
  /**
   * Makes a client of what the environment says: `address` from APERTURE_AGENT_ADDRESS, `apiKey` from APERTURE_API_KEY,
   * `insecure` from APERTURE_AGENT_INSECURE and `skipVerify` from APERTURE_AGENT_SKIP_VERIFY (true, false, 1 or 0). A
   * variable that is empty counts as unset, and options that are given win.
   * @throws {ApertureError} As the constructor; for a variable with another value the message names it.
   */
  static fromEnvironment(options?: Partial<ClientOptions>): ApertureClient;
  /**
   * Asks whether a piece of work may run. An agent that is down, slow or answers with an error is no rejection of the
   * promise: the flow is then unreachable, and runs unless it is in ramp mode.
   *
   * Rejects with INVALID_ARGUMENT, CLOSED or RESOURCE_EXHAUSTED, or with the reason of an aborted signal.
   */
  startFlow(controlPoint: string, params?: FlowParams): Promise<Flow>;
  /**
   * Runs fn(flow) when the flow should run, and returns what it returns. The flow is ended in every case, with the status
   * Error when fn throws or rejects, and the error is passed on.
   *
   * Rejects with a FlowRejectedError (code REJECTED) when the flow must not run, unless there is an onReject; and as
   * startFlow does.
   */
  guard<Result, Instead = never>(
    controlPoint: string,
    params: GuardParams<Instead> | null | undefined,
    fn: (flow: Flow) => Result | PromiseLike<Result>,
  ): Promise<Result | Instead>;
  /**
   * Waits until the agent can be asked, so that a service does not begin with flows that fail open.
   *
   * @param timeoutMs How long to wait at most, in milliseconds; 0 looks once.
   *
   * Rejects with TIMEOUT and a message that says what the connection last met.
   */
  waitReady(timeoutMs: number, options?: WaitOptions): Promise<void>;
  /**
   * Looks entries of the caches up, without a flow. What goes wrong at the agent is an error of the response.
   *
   * Rejects with INVALID_ARGUMENT and CLOSED.
   */
  cacheLookup(controlPoint: string, keys: CacheKeys, options?: CacheCallOptions): Promise<CacheLookupResponse>;
  /** Stores a value, in place of the one that is there. Rejects as cacheLookup does. */
  cacheSet(
    controlPoint: string, key: CacheKey, entry: CacheEntry, options?: CacheCallOptions,
  ): Promise<KeyUpsertResponse>;
  /** Removes an entry. Rejects as cacheLookup does. */
  cacheDelete(controlPoint: string, key: CacheKey, options?: CacheCallOptions): Promise<KeyDeleteResponse>;
  /** How the connection to the agent is at this moment. */
  state(): ConnectionState;
  /** The same in numbers, which are those of connectivityState in `@grpc/grpc-js`; for programs written for upstream. */
  getState(): 0 | 1 | 2 | 3 | 4;
  /** The counters of the client. */
  stats(): Stats;
  /**
   * Reads the policy files of a client with a `local:` address again, while flows go on. Policies that are the same keep
   * what they know. It waits for the files, which takes some milliseconds for many policies.
   *
   * Throws POLICY when something is wrong with the files: the message says what and where, and nothing changes.
   * Throws INVALID_ARGUMENT for a client of an agent.
   */
  reload(): void;
  /**
   * What the local engine has counted: for each component of the policies, and for the caches. docs/local-engine.md
   * lists the fields, of which later versions may have more.
   *
   * Throws INVALID_ARGUMENT for a client of an agent.
   */
  snapshot(): Record<string, unknown>;
  /**
   * Closes the client: pending calls end as unreachable, waiting spans are sent, the connection is closed. Closing
   * twice is the same as closing once. Without it the last spans may be lost when the process ends.
   *
   * @param timeoutMs How long it may take, in milliseconds; 0 or left out: 5,000.
   *
   * Rejects with TIMEOUT when the client is closed but spans were not sent. Nobody has to listen to that.
   */
  close(timeoutMs?: number): Promise<void>;
  /** The name of close in `@fluxninja/aperture-js`. */
  shutdown(timeoutMs?: number): Promise<void>;
  /** Closes the client, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
