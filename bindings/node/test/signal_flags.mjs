// How a process that a test starts looks at its own signal handlers.

import path from 'node:path';

import { PACKAGE } from './support.mjs';

const INDEX = JSON.stringify(path.join(PACKAGE, 'index.cjs'));

// hasOnstack(name) says whether the handler of a signal has the flag SA_ONSTACK. glibc's struct sigaction, on x86-64 and
// on arm64: a pointer, a mask of 128 bytes, and then the flags.
export const HAS_ONSTACK = `
  import { createRequire } from 'node:module';
  import os from 'node:os';
  const koffi = createRequire(${INDEX})('koffi');
  const sigaction = koffi.load('libc.so.6').func('sigaction', 'int', ['int', 'void *', 'void *']);
  function hasOnstack(name) {
    const action = Buffer.alloc(152);
    if (sigaction(os.constants.signals[name], null, action) !== 0) throw new Error('sigaction');
    if (action.readBigUInt64LE(0) === 0n) throw new Error(name + ' has no handler');
    return (action.readInt32LE(136) & 0x08000000) !== 0;
  }
`;
