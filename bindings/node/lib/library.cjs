'use strict';

// Finds the shared library and loads it with koffi. Everything here belongs to one module instance: a worker thread
// requires this file for itself and gets functions of its own.

const { ChildProcess } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { isMainThread } = require('node:worker_threads');

const abi = require('./abi.cjs');
const { ApertureError } = require('./errors.cjs');

const FILE_NAME = 'libaperture.so';

// Where the library may lie, best first. Always absolute paths: a bare name would make the loader search the system,
// where an older copy may be found.
function candidates() {
  const named = process.env.APERTURE_LIBRARY;
  if (named) {
    return [path.resolve(named)];
  }
  return [
    path.join(__dirname, FILE_NAME), // the installed package
    path.resolve(__dirname, '../../../build', FILE_NAME), // a checkout of the project
  ];
}

function findLibrary() {
  const paths = candidates();
  const found = paths.find((file) => fs.existsSync(file));
  if (found === undefined) {
    throw new ApertureError(
      'LIBRARY_NOT_LOADED',
      `${FILE_NAME} was not found at ${paths.join(' or ')}; set APERTURE_LIBRARY to its path`,
    );
  }
  return found;
}

function bind(koffi, library, name) {
  const { result, parameters } = abi.functions[name];
  return library.func(name, result, parameters);
}

function load() {
  const file = findLibrary();
  const koffi = require('koffi');
  try {
    const library = koffi.load(file);
    // The version comes first: a library of another version may lack the other functions.
    const version = bind(koffi, library, 'aperture_abi_version')();
    if (version !== abi.ABI_VERSION) {
      throw new Error(`it has ABI version ${version}, and this package needs ABI version ${abi.ABI_VERSION}`);
    }
    const functions = {};
    for (const name of Object.keys(abi.functions)) {
      functions[name] = bind(koffi, library, name);
    }
    return { koffi, functions };
  } catch (error) {
    throw new ApertureError('LIBRARY_NOT_LOADED', `${file} cannot be used: ${error.message}`);
  }
}

// Says that signal handlers are looked after in this thread, also to another instance of this module.
const PROTECTED = Symbol.for('libaperture.signalHandlersAreProtected');

// libuv installs signal handlers without SA_ONSTACK. On a thread that is in a call of the library such a handler would
// run on the small stack of a goroutine, and overflow it. The library looks for them every 10 ms; a listener that is
// added meanwhile is told to it. Node's own listener of 'newListener', which comes before this one, has installed the
// handler by then. Signals have listeners on the main thread only.
//
// Node itself handles SIGCHLD, from the start of a child until there is none any more, and tells nobody of it: there it is
// the start of a child that is followed.
function protectHandlers({ aperture_protect_signal_handlers: protectSignalHandlers }) {
  if (process[PROTECTED]) {
    return;
  }
  Object.defineProperty(process, PROTECTED, { value: true });
  if (isMainThread) {
    process.on('newListener', (event) => {
      if (Object.hasOwn(os.constants.signals, event)) {
        protectSignalHandlers(null);
      }
    });
  }
  const { spawn } = ChildProcess.prototype;
  ChildProcess.prototype.spawn = function spawnProtected(...args) {
    const result = Reflect.apply(spawn, this, args);
    protectSignalHandlers(null);
    return result;
  };
}

let loaded = null;

/** Loads the library at the first call; afterwards returns the same functions. */
function loadLibrary() {
  if (loaded === null) {
    loaded = load();
    protectHandlers(loaded.functions);
  }
  return loaded;
}

module.exports = { loadLibrary };
