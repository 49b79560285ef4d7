'use strict';

// The pending calls of one client. The library makes a pipe readable when completions wait; libuv watches the pipe,
// so that no thread is occupied while a call is pending. The pipe is opened at the first pending call.
//
// An idle client does not keep the process alive; a pending call does.

const net = require('node:net');

const abi = require('./abi.cjs');
const { follow } = require('./abort.cjs');
const { POLL_CAPACITY } = require('./native.cjs');

/** How often completions are looked for while there is no descriptor to watch, in milliseconds. */
const RETRY_MS = 10;

class Calls {
  #native;
  #client;
  #pending = new Map();
  #lastTag = 0;
  #socket = null;
  #retry = null;
  #isClosed = false;

  constructor(native, client) {
    this.#native = native;
    this.#client = client;
  }

  /** A tag for a call that may become pending. */
  nextTag() {
    return ++this.#lastTag;
  }

  /**
   * Calls onCompletion(error, flow, answer) once when the call with this tag is complete: with null for a call that did
   * what it should, and with handles that are 0 for what it does not bring.
   */
  add(tag, onCompletion) {
    this.#pending.set(tag, onCompletion);
    if (this.#pending.size === 1) {
      this.#watch();
    }
  }

  /**
   * Waits for the call that was made last, with this tag, and resolves with what read(error, flow, answer) makes of its
   * completion, or rejects with what that throws. An abort of the signal, if there is one, cancels the call at the agent
   * and rejects at once; what the call brings all the same is released.
   */
  wait(tag, signal, read) {
    return new Promise((resolve, reject) => {
      let isAborted = false;
      let unfollow = null;
      if (signal !== undefined) {
        const call = this.#native.newCall();
        unfollow = follow(signal, () => {
          isAborted = true;
          this.#native.cancelCall(call);
          reject(signal.reason);
        });
      }
      this.add(tag, (error, flow, answer) => {
        if (unfollow !== null) {
          unfollow();
        }
        if (isAborted) {
          this.#release(flow, answer);
          return;
        }
        try {
          resolve(read(error, flow, answer));
        } catch (failure) {
          reject(failure);
        }
      });
    });
  }

  // Releases what nobody waits for any more. A flow is ended, as failed: it was given up, and not forgotten.
  #release(flow, answer) {
    const native = this.#native;
    if (flow !== 0) {
      const tag = this.nextTag();
      native.setFlowStatus(flow, abi.FlowStatus.FLOW_STATUS_ERROR);
      if (native.endFlow(flow, tag) === abi.Code.PENDING) {
        this.add(tag, () => {}); // its tokens go back before the process ends
      }
      native.closeFlow(flow);
    }
    if (answer !== 0) {
      native.closeAnswer(answer);
    }
  }

  /** Ends the watch. To be called when the client is closed: it has no completions then. */
  close() {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#socket?.destroy();
    this.#socket = null;
  }

  #watch() {
    if (this.#socket === null) {
      try {
        this.#socket = this.#open();
      } catch {
        // No descriptor is left in this process: the calls go on, and completions are looked for by the clock.
        this.#retry ??= setTimeout(() => {
          this.#retry = null;
          this.#take();
        }, RETRY_MS);
        return;
      }
    }
    this.#socket.ref();
  }

  #open() {
    const take = () => {
      this.#take();
      return true;
    };
    const socket = new net.Socket({
      fd: this.#native.completionDescriptor(this.#client), // closed by the socket
      readable: true,
      writable: false,
      onread: { buffer: Buffer.alloc(64), callback: take }, // the bytes mean nothing
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      if (this.#socket === socket) {
        this.#socket = null;
        this.#take();
      }
    });
    return socket;
  }

  #take() {
    const native = this.#native;
    let count;
    do {
      try {
        count = native.poll(this.#client);
      } catch (error) {
        this.#fail(error);
        return;
      }
      for (let i = 0; i < count && !this.#isClosed; i++) {
        const tag = native.completionTag(i);
        const onCompletion = this.#pending.get(tag);
        this.#pending.delete(tag);
        onCompletion(native.completionError(i), native.completionFlow(i), native.completionAnswer(i));
      }
    } while (count === POLL_CAPACITY && !this.#isClosed);

    if (this.#isClosed) {
      return;
    }
    if (this.#pending.size > 0) {
      this.#watch();
    } else {
      this.#socket?.unref();
    }
  }

  // Polling fails only by a defect; whoever waits must learn of it.
  #fail(error) {
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    this.#socket?.unref();
    for (const onCompletion of waiting) {
      onCompletion(error, 0, 0);
    }
  }
}

module.exports = { Calls };
