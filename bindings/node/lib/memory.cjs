'use strict';

// Memory that C reads and writes. An ArrayBuffer of its own lies outside V8's heap and never moves, so its address can
// be taken once and be put into structs. Integers are little-endian, as on every machine that the library is built for.

const TWO_TO_32 = 2 ** 32;

// Up to this length a loop over the characters is quicker than a call of Buffer.write.
const SHORT_TEXT = 16;

class Memory {
  constructor(koffi, size) {
    this.buffer = new ArrayBuffer(size);
    this.size = size;
    this.view = new DataView(this.buffer);
    this.bytes = Buffer.from(this.buffer);
    this.address = Number(koffi.address(this.buffer));
  }

  /** Writes a text as UTF-8 and returns its length in bytes. There must be room for three bytes per character. */
  writeText(offset, text) {
    const length = text.length;
    if (length <= SHORT_TEXT) {
      const bytes = this.bytes;
      let i = 0;
      for (; i < length; i++) {
        const unit = text.charCodeAt(i);
        if (unit > 0x7f) {
          break;
        }
        bytes[offset + i] = unit;
      }
      if (i === length) {
        return length;
      }
    }
    return this.bytes.write(text, offset, 'utf8');
  }
}

// 64-bit integers are read and written as two halves, because BigInts cost an allocation each. All of them are below
// 2 ** 53: handles and tags by their making, lengths and times by their meaning.

function readUint64(view, offset) {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * TWO_TO_32;
}

function readInt64(view, offset) {
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * TWO_TO_32;
}

// The setters keep the low 32 bits of what they are given.
function writeUint64(view, offset, value) {
  view.setUint32(offset, value, true);
  view.setUint32(offset + 4, value / TWO_TO_32, true);
}

module.exports = { Memory, readUint64, readInt64, writeUint64 };
