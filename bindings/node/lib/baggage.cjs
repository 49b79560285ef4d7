'use strict';

// The baggage of a host that uses OpenTelemetry. The host's own copy of the API is asked, if there is one; nothing here
// depends on it, and nothing goes wrong because of it.

const { createRequire } = require('node:module');
const path = require('node:path');

// Where version 1 of the API keeps what was registered with it. Without it nobody has ever set any baggage.
const REGISTERED = Symbol.for('opentelemetry.js.api.1');

let api; // null when it cannot be found

/** The keys and values of the active baggage in turn, in a new array; null when there is none. */
function activeBaggage() {
  return globalThis[REGISTERED] === undefined ? null : readBaggage();
}

function readBaggage() {
  try {
    if (api === undefined) {
      api = findApi();
    }
    const baggage = api?.propagation.getBaggage(api.context.active());
    if (baggage === undefined) {
      return null;
    }
    return baggage
      .getAllEntries()
      .filter(([key, entry]) => typeof key === 'string' && typeof entry?.value === 'string')
      .flatMap(([key, { value }]) => [key, value]);
  } catch {
    return null; // it is no reason to refuse a flow
  }
}

// All copies of the API share what is registered. One lies beside this package, or where the program finds it.
function findApi() {
  const bases = [__filename, require.main?.filename ?? process.argv[1], path.join(process.cwd(), 'program.js')];
  for (const base of bases) {
    try {
      return createRequire(base)('@opentelemetry/api');
    } catch {
      // The next one.
    }
  }
  return null;
}

module.exports = { activeBaggage };
