// Compiled with the library that has `await using`, not run.

import { ApertureClient } from 'libaperture';

export async function use(): Promise<boolean> {
  await using client = new ApertureClient({ address: 'local:' });
  await using flow = await client.startFlow('checkout');
  const disposable: AsyncDisposable = flow;
  return disposable === flow;
}
