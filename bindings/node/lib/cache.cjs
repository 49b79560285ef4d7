'use strict';

// What callers get from the caches. Values are copied when a response is made: nothing of the library stays open for
// them.

const abi = require('./abi.cjs');
const { ApertureError } = require('./errors.cjs');
const { LookupStatus } = require('./names.cjs');
const { openNative } = require('./native.cjs');

const { CACHE_RESULT, CACHE_GLOBAL } = abi.CacheScope;

/** What a cache had under a key. */
class KeyLookupResponse {
  #value;
  #error;

  constructor(value, error) {
    this.#value = value;
    this.#error = error;
  }

  /** The value of a hit, which may be empty; null for a miss. */
  getValue() {
    return this.#value;
  }

  /** HIT or MISS. */
  getLookupStatus() {
    return this.#value === null ? LookupStatus.Miss : LookupStatus.Hit;
  }

  /** Why it is not known whether there is an entry, or null. */
  getError() {
    return this.#error;
  }
}

/** What came of a change in the cache. */
class ChangeResponse {
  #error;

  constructor(error) {
    this.#error = error;
  }

  /** What went wrong, or null. */
  getError() {
    return this.#error;
  }
}

class KeyUpsertResponse extends ChangeResponse {}

class KeyDeleteResponse extends ChangeResponse {}

/** What a look-up found under each of its keys. */
class CacheLookupResponse {
  #result = null;
  #global = new Map();
  #error;

  /** Reads the answer with read(scope, key), which returns a value or null, or throws. */
  static read({ resultCacheKey, globalCacheKeys }, read) {
    const response = new CacheLookupResponse(null);
    const find = (scope, key) => {
      try {
        return new KeyLookupResponse(read(scope, key), null);
      } catch (error) {
        return new KeyLookupResponse(null, error);
      }
    };
    if (resultCacheKey !== '') {
      response.#result = find(CACHE_RESULT, resultCacheKey);
    }
    for (const key of globalCacheKeys) {
      response.#global.set(key, find(CACHE_GLOBAL, key));
    }
    return response;
  }

  /** How large the values are together, in bytes. */
  static sizeOf(response) {
    let size = response.#result?.getValue()?.length ?? 0;
    for (const found of response.#global.values()) {
      size += found.getValue()?.length ?? 0;
    }
    return size;
  }

  /** With an error it says of every key that it is not known. */
  constructor(error) {
    this.#error = error;
  }

  /** What the result cache had. */
  resultCache() {
    return this.#result ?? this.#unknown();
  }

  /** What the global cache had under a key. */
  globalCache(key) {
    return this.#global.get(key) ?? this.#unknown();
  }

  /** Why nothing was found out, or null. */
  getError() {
    return this.#error;
  }

  #unknown() {
    return new KeyLookupResponse(null, this.#error ?? openNative().errorOf(abi.Code.ERROR_NO_ANSWER));
  }
}

/** Whether an error of a cache call is the caller's to repair. Every other one is told with the response. */
function isCallersError(error) {
  return !(error instanceof ApertureError) || error.code === 'INVALID_ARGUMENT' || error.code === 'CLOSED';
}

module.exports = { CacheLookupResponse, KeyDeleteResponse, KeyLookupResponse, KeyUpsertResponse, isCallersError };
