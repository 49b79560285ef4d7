'use strict';

// Required by processes that tests start (node --require): the process ends with an error when its own work is done and
// a handle of the library is still open.

const { isMainThread } = require('node:worker_threads');

if (isMainThread) {
  process.on('exit', () => {
    const { liveHandles } = require('./live_handles.cjs');
    let left = 0;
    try {
      left = liveHandles();
    } catch (error) {
      if (error.code !== 'LIBRARY_NOT_LOADED') {
        throw error;
      }
    }
    if (left !== 0) {
      console.error(`${left} handles of the library are left open`);
      process.exitCode = 1;
    }
  });
}
