// Measures what a flow costs from Node: its start and its end, which closes the handle of an earlier one.
//
//     flow.mjs async|empty ADDRESS IN_FLIGHT SECONDS
//
// "async" runs IN_FLIGHT flows in one event loop, and "empty" calls a function of the library that does nothing. It
// prints the kind, a tab, and nanoseconds per flow (or call): the time that passed, divided by the number of flows.

import { ApertureClient } from '../bindings/node/index.mjs';
import library from '../bindings/node/lib/library.cjs';

const BATCH = 8; // flows between two looks at the clock
const PARAMS = { labels: { tier: 'gold', user_id: 'alice' } };

async function measureFlows(client, inFlight, seconds) {
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let flows = 0;
  // Every await lets the others go on, also when the decision is there at once.
  const work = async () => {
    while (performance.now() < end) {
      for (let i = 0; i < BATCH; i++) {
        const flow = await client.startFlow('checkout', PARAMS);
        await flow.end();
      }
      flows += BATCH;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  return { flows, milliseconds: performance.now() - begin };
}

function measureEmpty(seconds) {
  const empty = library.loadLibrary().functions.aperture_abi_version;
  const begin = performance.now();
  const end = begin + seconds * 1000;
  let calls = 0;
  while (performance.now() < end) {
    for (let i = 0; i < BATCH; i++) {
      empty();
    }
    calls += BATCH;
  }
  return { flows: calls, milliseconds: performance.now() - begin };
}

// A number is worthless when the flows behind it were not decided.
function checkDecisions({ flowsAccepted, flowsRejected, flowsUnreachable }) {
  const others = flowsRejected + flowsUnreachable;
  if (others * 100 > flowsAccepted) {
    throw new Error(`${flowsAccepted} flows were accepted, but ${others} were not`);
  }
}

async function runFlows(address, inFlight, seconds) {
  const client = new ApertureClient({ address, insecure: true });
  await client.waitReady(10_000);
  await measureFlows(client, inFlight, seconds * 0.2); // warm up
  const result = await measureFlows(client, inFlight, seconds);
  checkDecisions(client.stats());
  await client.close();
  return result;
}

function runEmpty(seconds) {
  measureEmpty(seconds * 0.2); // warm up
  return measureEmpty(seconds);
}

const [kind, address, inFlight, seconds] = process.argv.slice(2);
if (kind !== 'async' && kind !== 'empty') {
  throw new Error(`${kind} is neither async nor empty`);
}
const { flows, milliseconds } =
  kind === 'async' ? await runFlows(address, Number(inFlight), Number(seconds)) : runEmpty(Number(seconds));
console.log(`${kind}\t${((milliseconds / flows) * 1e6).toFixed(1)}`);
