'use strict';

// How many handles of the library are open in this process, for tests.

const { loadLibrary } = require('../lib/library.cjs');

exports.liveHandles = () => loadLibrary().functions.aperture_live_handles();
