'use strict';

// The table that the binding works with (lib/abi.cjs) says the same as the layout that the C compiler has checked, and
// as koffi's own view of the structs.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, test } = require('node:test');

const koffi = require('koffi');

const abi = require('../lib/abi.cjs');
const { loadLibrary } = require('../lib/library.cjs');
const { liveHandles } = require('./live_handles.cjs');

after(() => assert.equal(liveHandles(), 0, 'handles are left open'));

const PROJECT = path.resolve(__dirname, '../../..');
const layout = JSON.parse(fs.readFileSync(path.join(PROJECT, 'tests/layout/layout.json'), 'utf8'));
const header = fs.readFileSync(path.join(PROJECT, 'include/aperture.h'), 'utf8');

test('the version of the ABI is the same', () => {
  assert.equal(abi.ABI_VERSION, layout.abi_version);
  assert.equal(loadLibrary().functions.aperture_abi_version(), abi.ABI_VERSION);
});

test('every constant is the same', () => {
  assert.ok(Object.keys(layout.constants).length > 0);
  for (const [name, value] of Object.entries(layout.constants)) {
    assert.equal(abi[name], value, name);
  }
});

test('every enumeration is the same', () => {
  assert.deepEqual(abi.enums, layout.enums);
});

test('every struct has the same size and fields', () => {
  const seen = Object.entries(abi.structs).map(([name, { size, fields }]) => [
    name,
    {
      size,
      fields: Object.fromEntries(Object.entries(fields).map(([field, { offset, size }]) => [field, { offset, size }])),
    },
  ]);
  assert.deepEqual(Object.fromEntries(seen), layout.structs);
});

test('every function of the header is bound, and no other', () => {
  const declared = [...header.matchAll(/^APERTURE_API .*?\b(aperture_\w+)\(/gm)].map((match) => match[1]).sort();
  assert.ok(declared.length > 20);
  assert.deepEqual(Object.keys(abi.functions).sort(), declared);
  assert.deepEqual(Object.keys(loadLibrary().functions).sort(), declared);
});

test('koffi lays the structs out in the same way', () => {
  const types = {
    pointer: () => 'void *',
    handle: () => 'void *',
    size: () => 'size_t',
    i32: () => 'int32_t',
    u32: () => 'uint32_t',
    i64: () => 'int64_t',
    u64: () => 'uint64_t',
    f64: () => 'double',
    char: (size) => koffi.array('char', size),
    text: () => built.text,
    bytes: () => built.bytes,
  };
  const built = {};
  for (const [name, { size, fields }] of Object.entries(abi.structs)) {
    built[name] = koffi.struct(
      Object.fromEntries(Object.entries(fields).map(([field, { kind, size }]) => [field, types[kind](size)])),
    );
    assert.equal(koffi.sizeof(built[name]), size, name);
    for (const [field, { offset }] of Object.entries(fields)) {
      assert.equal(koffi.offsetof(built[name], field), offset, `${name}.${field}`);
    }
  }
});

test('the counters that are declared for TypeScript are those of the library', () => {
  const declarations = fs.readFileSync(path.join(__dirname, '../index.d.cts'), 'utf8');
  const [, stats] = /interface Stats \{(.*?)\n\}/s.exec(declarations);
  const declared = [...stats.matchAll(/readonly (\w+): number/g)].map((match) => match[1]);
  const { ApertureClient } = require('..');
  const client = new ApertureClient({ address: 'local:' });
  assert.deepEqual(Object.keys(client.stats()), declared);
  return client.close();
});

test('the error codes that are declared for TypeScript are those of the library', () => {
  const declarations = fs.readFileSync(path.join(__dirname, '../index.d.cts'), 'utf8');
  const [, codes] = /type ApertureErrorCode =(.*?);/s.exec(declarations);
  const declared = [...codes.matchAll(/'(\w+)'/g)].map((match) => match[1]);
  const errors = Object.keys(abi.Code).filter((name) => name.startsWith('ERROR_'));
  assert.deepEqual(declared, [...errors.map((name) => name.slice('ERROR_'.length)), 'LIBRARY_NOT_LOADED', 'REJECTED']);
});
