// Runs a trace of requests through flow control, and prints for each user tier how many flows were accepted and
// rejected, and the longest time that a rejected caller was told to wait.
//
//     node checkout.mjs --address ADDRESS [--insecure] [--user-prefix PREFIX] TRACE
//
// ADDRESS is that of an agent (host:port), or local:policies.yaml to decide in this process. Each line of TRACE is a
// tier and a user. Needs `npm ci` in bindings/node.

import fs from 'node:fs';
import { parseArgs } from 'node:util';

// In a service: import { … } from 'libaperture';
import { ApertureClient, FlowDecision, FlowStatus } from '../../bindings/node/index.mjs';

const USAGE = 'usage: node checkout.mjs --address ADDRESS [--insecure] [--user-prefix PREFIX] TRACE';

function readArguments() {
  const { values, positionals } = parseArgs({
    options: {
      address: { type: 'string' },
      insecure: { type: 'boolean', default: false },
      'user-prefix': { type: 'string', default: '' },
    },
    allowPositionals: true,
  });
  if (values.address === undefined || positionals.length !== 1) {
    throw new Error(USAGE);
  }
  return { ...values, trace: positionals[0] };
}

// Returns the requests of a trace: lines "tier user", empty lines, and comments that begin with #.
function readTrace(file) {
  const requests = [];
  for (const [index, line] of fs.readFileSync(file, 'utf8').split('\n').entries()) {
    const words = line.trim().split(/\s+/);
    if (words[0] === '' || words[0].startsWith('#')) {
      continue;
    }
    if (words.length !== 2) {
      throw new Error(`${file}: line ${index + 1}: expected "tier user", found ${JSON.stringify(line)}`);
    }
    requests.push({ tier: words[0], user: words[1] });
  }
  return requests;
}

// Guards one request. A service does its work where the comment says so.
async function checkout(client, tier, user, count) {
  const flow = await client.startFlow('checkout', { labels: { tier, user_id: user }, checkTimeoutMs: 2000 });
  try {
    if (flow.decision() === FlowDecision.Unreachable) {
      // A service goes on here: shouldRun() says whether. This program is about decisions, and wants to see them all.
      throw flow.error();
    }
    if (flow.shouldRun()) {
      // ... the work ...
      count.accepted++;
    } else {
      count.rejected++;
      const wait = flow.retryAfter();
      if (wait !== null) {
        count.retryAfter = Math.max(count.retryAfter, wait.seconds + Math.ceil(wait.nanos / 1e9));
      }
    }
    flow.setStatus(FlowStatus.OK);
  } catch (error) {
    flow.setStatus(FlowStatus.Error);
    throw error;
  } finally {
    const end = await flow.end();
    if (end.getError() !== null) {
      console.error(`ending a flow: ${end.getError().message}`);
    }
  }
}

async function main() {
  const { address, insecure, trace, 'user-prefix': prefix } = readArguments();
  const requests = readTrace(trace);
  const client = new ApertureClient({ address, insecure });
  const tiers = new Map();
  try {
    await client.waitReady(5000);
    for (const { tier, user } of requests) {
      if (!tiers.has(tier)) {
        tiers.set(tier, { accepted: 0, rejected: 0, retryAfter: 0 });
      }
      await checkout(client, tier, prefix + user, tiers.get(tier));
    }
  } finally {
    await client.close();
  }
  for (const [tier, { accepted, rejected, retryAfter }] of [...tiers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    console.log([tier, accepted, rejected, retryAfter].join('\t'));
  }
}

main().catch((error) => {
  console.error(`checkout: ${error.message}`);
  process.exitCode = 1;
});
