'use strict';

// Follows AbortSignals. All calls that follow one signal share one listener, because Node warns of more than ten on a
// signal: a service has one for its end, and thousands of calls at once.

const followers = new WeakMap();

/** Calls onAbort once when the signal is aborted. Returns a function that ends that. */
function follow(signal, onAbort) {
  let group = followers.get(signal);
  if (group === undefined) {
    const callbacks = new Set();
    const listener = () => {
      followers.delete(signal);
      for (const callback of callbacks) {
        callback();
      }
    };
    group = { callbacks, listener };
    followers.set(signal, group);
    signal.addEventListener('abort', listener, { once: true });
  }
  const { callbacks, listener } = group;
  callbacks.add(onAbort);
  return () => {
    callbacks.delete(onAbort);
    if (callbacks.size === 0 && followers.get(signal) === group) {
      followers.delete(signal);
      signal.removeEventListener('abort', listener);
    }
  };
}

module.exports = { follow };
