'use strict';

// What holds for the whole process: the log of the library, its threads, and its way with signal handlers.

const abi = require('./abi.cjs');
const { ApertureError } = require('./errors.cjs');
const { loadLibrary } = require('./library.cjs');
const { Memory, writeUint64 } = require('./memory.cjs');
const { camelCase, codeNames } = require('./names.cjs');
const { readProcessOptions } = require('./options.cjs');

const { error, process_options } = abi.structs;

/** Sets every option; what is left out gets its default. */
function configure(options = {}) {
  const { logFd, logLevel, maxProcs, leaveSignalHandlers } = readProcessOptions(options);
  const { koffi, functions } = loadLibrary();
  // The options, and the error behind them.
  const memory = new Memory(koffi, process_options.size + error.size);
  const { view } = memory;
  const { fields } = process_options;
  writeUint64(view, fields.struct_size.offset, process_options.size);
  view.setInt32(fields.log_fd.offset, logFd, true);
  view.setInt32(fields.log_level.offset, logLevel, true);
  view.setInt32(fields.max_procs.offset, maxProcs, true);
  view.setInt32(fields.leave_signal_handlers.offset, leaveSignalHandlers ? 1 : 0, true);
  writeUint64(view, process_options.size + error.fields.struct_size.offset, error.size);

  const errorAddress = memory.address + process_options.size;
  const code = functions.aperture_configure(BigInt(memory.address), BigInt(errorAddress));
  if (code !== abi.Code.OK) {
    const start = process_options.size + error.fields.message.offset;
    const length = view.getUint32(process_options.size + error.fields.message_length.offset, true);
    // The library names its own fields: its options.log_fd is the caller's options.logFd.
    const message = memory.bytes.utf8Slice(start, start + length).replace(/^options\.\w+/, camelCase);
    throw new ApertureError(codeNames.get(code) ?? 'UNKNOWN', message);
  }
}

module.exports = { configure };
