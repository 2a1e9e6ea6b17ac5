// Files of memory (tmpfs) through which processes of one host pass tensors: a copy in and a copy out, instead of the many of a socket.
// Refuses to know who may share them and what the bytes mean: whoever reads checks what it read.
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Names that are taken from the wire: no path leads out of the folder. */
const safeName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,200}\.(push|version)$/;

/** An open segment; its owner closes it, once. */
export class Segment {
  /** -1 once it is closed: its number may be another file's by then. */
  #fd: number;

  private constructor(
    readonly name: string,
    fd: number,
  ) {
    this.#fd = fd;
  }

  /** A new one, for this user alone. Throws an Error where the folder does not take it. */
  static create(folder: string, name: string): Segment {
    const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    return new Segment(name, openSync(join(folder, name), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  }

  /** One of another process, to read. Throws an Error where there is none of that name, or the name is none. */
  static open(folder: string, name: string): Segment {
    if (!safeName.test(name)) throw new Error('A segment has a name that no segment can have.');
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
    // Without O_NONBLOCK a pipe of that name would hold the thread until somebody writes to it.
    return new Segment(name, openSync(join(folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  }

  /** Throws an Error, such as that memory is used up. */
  write(bytes: Uint8Array, place: number): void {
    for (let at = 0; at < bytes.byteLength;) at += writeSync(this.#fd, bytes, at, bytes.byteLength - at, place + at);
  }

  /** Fills `bytes`. Throws an Error where the segment ends before. */
  read(bytes: Uint8Array, place: number): void {
    for (let at = 0; at < bytes.byteLength;) {
      const count = readSync(this.#fd, bytes, at, bytes.byteLength - at, place + at);
      if (count === 0) throw new Error(`Segment ${this.name} ends before byte ${place + bytes.byteLength}.`);
      at += count;
    }
  }

  close(): void {
    const fd = this.#fd;
    this.#fd = -1;
    closeSync(fd);
  }
}
