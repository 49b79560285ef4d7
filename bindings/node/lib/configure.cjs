'use strict';

const abi = require('./abi.cjs');
const { openNative } = require('./native.cjs');
const { readProcessOptions } = require('./options.cjs');

/** Sets what holds for the whole process, its workers included. Every call sets all options. */
function configure(options) {
  const settings = readProcessOptions(options);
  const native = openNative();
  const code = native.configure(settings);
  if (code !== abi.Code.OK) {
    throw native.lastError(code);
  }
}

module.exports = { configure };
