'use strict';

/** How many ended flows of a client can still be asked for the agent's answer. */
const KEPT_FLOWS = 1000;

/** How large the texts and cached values of these may be together, in bytes. */
const KEPT_BYTES = 16 * 2 ** 20;

/**
 * The handles of the flows of one client that ended last, which stay open because a flow is also read after its end.
 * They are kept by number, so that no garbage collector has a say in how much memory they take.
 */
class EndedFlows {
  #native;
  // A ring: the oldest is at #first, and #count follow one another from there.
  #handles = new Float64Array(KEPT_FLOWS);
  #sizes = new Float64Array(KEPT_FLOWS);
  #first = 0;
  #count = 0;
  #bytes = 0;
  #isClosed = false;

  constructor(native) {
    this.#native = native;
  }

  /** Keeps the handle of a flow with texts and values of this size, and closes the oldest ones that are too many. */
  keep(handle, size) {
    if (this.#isClosed) {
      this.#native.closeFlow(handle);
      return;
    }
    if (this.#count === KEPT_FLOWS) {
      this.#closeOldest();
    }
    const at = (this.#first + this.#count) % KEPT_FLOWS;
    this.#handles[at] = handle;
    this.#sizes[at] = size;
    this.#count++;
    this.#bytes += size;
    while (this.#bytes > KEPT_BYTES) {
      this.#closeOldest();
    }
  }

  /** Closes all, and from now on each at once. */
  close() {
    this.#isClosed = true;
    while (this.#count > 0) {
      this.#closeOldest();
    }
  }

  #closeOldest() {
    this.#native.closeFlow(this.#handles[this.#first]);
    this.#bytes -= this.#sizes[this.#first];
    this.#first = (this.#first + 1) % KEPT_FLOWS;
    this.#count--;
  }
}

module.exports = { EndedFlows, KEPT_BYTES, KEPT_FLOWS };
