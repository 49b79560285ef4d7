// Compiled, not run: the package from CommonJS.

import libaperture = require('libaperture');

export async function run(): Promise<boolean> {
  libaperture.configure({ logFd: 2 });
  const client: libaperture.ApertureClient = new libaperture.ApertureClient({ address: 'local:policies.yaml' });
  const flow: libaperture.Flow = await client.startFlow('checkout', { labels: { tier: 'gold' } });
  flow.setStatus(libaperture.FlowStatus.Error);
  await flow.end();
  await client.close();
  return flow.decision() === libaperture.FlowDecision.Accepted;
}
