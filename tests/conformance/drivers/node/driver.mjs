// Runs the conformance cases with the Node package. This is the protocol; operations.mjs has what a step can ask for. See
// tests/conformance/README.md.

import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { failure, operations } from './operations.mjs';

/** The bytes that a text with %XX stands for. */
function unescape(text) {
  return Buffer.from(text.replace(/%(..)/g, (_, hex) => String.fromCharCode(parseInt(hex, 16))), 'latin1');
}

/** What is not UTF-8 becomes lone surrogates. */
function decode(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return String.fromCharCode(...Array.from(bytes, (byte) => (byte < 0x80 ? byte : 0xdc00 + byte)));
  }
}

/** Returns what the words of a step mean, as options of this language, which nobody can change. */
function argumentsOf(words) {
  const step = {};
  for (const word of words) {
    const [, escaped, isList, member, isLiteral, text] = /^(\w+)(\[\])?(?:\.([^:=]*))?(:)?=(.*)$/.exec(word);
    const name = escaped.replace(/_ns$/, '_ms').replace(/_(.)/g, (_, letter) => letter.toUpperCase());
    const bytes = unescape(text);
    let value = name === 'value' ? bytes : decode(bytes);
    if (isLiteral) {
      value = value === 'true' || (value === 'false' ? false : Number(value));
    }
    if (escaped.endsWith('_ns')) {
      value /= 1e6;
    }
    if (isList) {
      value = Object.freeze([...(step[name] ?? []), value]);
    } else if (member !== undefined) {
      value = Object.freeze({ ...step[name], [decode(unescape(member))]: value });
    }
    step[name] = value;
  }
  return step;
}

/** The words of an answer; members that are objects have their names before those of their members. */
function wordsOf(answer, prefix = '') {
  return Object.entries(answer).flatMap(([name, value]) => {
    if (value === undefined || value === null) {
      return [];
    }
    const isObject = typeof value === 'object' && !Buffer.isBuffer(value);
    return isObject ? wordsOf(value, `${prefix}${name}.`) : `${escape(prefix + name)}=${escape(value)}`;
  });
}

function escape(value) {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(String(value));
  return bytes.toString('latin1').replace(/[^\w.]/g, (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [operation, ...words] = line.split(' ');
  let answer = { error: 'UNSUPPORTED' };
  try {
    answer = operation in operations ? await operations[operation](argumentsOf(words)) : answer;
  } catch (error) {
    answer = failure(error);
  }
  if (!process.stdout.write(`${wordsOf(answer ?? {}).join(' ')}\n`)) {
    await once(process.stdout, 'drain');
  }
}
