// Attributes that programs give to the spans of their flows.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApertureClient } from '../index.mjs';
import { AMPLE_MS, leavesNoHandle, openClient, startFakeAgent } from './support.mjs';

leavesNoHandle();

/** What the agent got of an attribute, as the text that its report has: JSON.parse makes 1 of 1.0. */
const written = (text, key) => new RegExp(`"${key}":("(?:[^"\\\\]|\\\\.)*"|[^,}]+)`).exec(text)?.[1];

test('attributes arrive with their type and exactly', async (t) => {
  const agent = await startFakeAgent(t);
  const client = openClient(t, ApertureClient, { address: agent.address, insecure: true });
  const flow = await client.startFlow('checkout', { checkTimeoutMs: AMPLE_MS });
  const values = {
    text: 'größe €😀',
    empty: '',
    lone: 'a\ud800',
    zero: 0,
    minus_zero: -0,
    tokens: 1234,
    negative: -5,
    largest_safe: Number.MAX_SAFE_INTEGER,
    beyond: 2 ** 53,
    half: 0.5,
    tiny: Number.MIN_VALUE,
    huge: 1e300,
    one: 1n,
    largest: 2n ** 63n - 1n,
    smallest: -(2n ** 63n),
    overwritten: 'first',
  };
  for (const [key, value] of Object.entries(values)) {
    assert.equal(flow.setAttribute(key, value), undefined);
  }
  flow.setAttribute('overwritten', 2);
  flow.setAttribute('schlüssel €', 1);
  await flow.end();
  await client.close();
  const text = await agent.reportText();
  const expected = {
    text: '"größe €😀"', empty: '""', lone: '"a\ufffd"', zero: '0', minus_zero: '0', tokens: '1234', negative: '-5',
    largest_safe: '9007199254740991', beyond: '9.007199254740992e+15', half: '0.5', tiny: '5e-324', huge: '1e+300', one: '1',
    largest: '9223372036854775807', smallest: '-9223372036854775808', overwritten: '2', 'schlüssel €': '1',
  };
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, written(text, key)])), expected);
});

for (const [what, args, message] of [
  ['no key', [undefined, 1], /^key must be a string/],
  ['an empty key', ['', 1], /attribute key.*1 to 256/],
  ['a long key', ['k'.repeat(257), 1], /attribute key.*257/],
  ["a key of the library's", ['aperture.source', 'x'], /attribute key.*aperture\./],
  ['a lone surrogate in a key', ['a\ud800', 1], /^key must be valid Unicode/],
  ['no value', ['k'], /^value must be a string, a number or a bigint, not a value of type undefined/],
  ['null', ['k', null], /^value must be.*not null/],
  ['a boolean', ['k', true], /^value must be.*boolean/],
  ['an object', ['k', {}], /^value must be.*object/],
  ['NaN', ['k', NaN], /^value must be finite, not NaN/],
  ['infinity', ['k', -Infinity], /^value must be finite, not -Infinity/],
  ['65 bits', ['k', 2n ** 63n], /^value must be an integer of 64 bits/],
  ['65 bits below zero', ['k', -(2n ** 63n) - 1n], /^value must be an integer of 64 bits/],
  ['a long text', ['k', 'x'.repeat(65_537)], /attribute text.*65537.*65536/],
]) {
  test(`${what} is refused by setAttribute`, async (t) => {
    const client = openClient(t, ApertureClient, { address: 'local:' });
    const flow = await client.startFlow('checkout');
    assert.throws(() => flow.setAttribute(...args), { name: 'ApertureError', code: 'INVALID_ARGUMENT', message });
    await flow.end();
  });
}

test('a flow has 64 attributes at most, and none after its end', async (t) => {
  const client = openClient(t, ApertureClient, { address: 'local:' });
  const flow = await client.startFlow('checkout');
  for (let i = 0; i < 64; i++) {
    flow.setAttribute(`key-${i}`, i);
  }
  assert.throws(() => flow.setAttribute('one more', 1), { code: 'INVALID_ARGUMENT', message: /at most 64/ });
  flow.setAttribute('key-0', 'again');
  const ending = flow.end();
  assert.throws(() => flow.setAttribute('key-0', 1), { code: 'ALREADY_ENDED' });
  await ending;
  assert.throws(() => flow.setAttribute('key-0', 1), { code: 'ALREADY_ENDED' });
});
