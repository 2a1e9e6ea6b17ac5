// Owns: synchronous writing that survives a power cut: whole writes, fsync of files and of the folders that name them.
// Refuses to know: what is written.
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';

/** Creates a file (which must not exist), lets `fill` write to it, and syncs it. `write` takes any bytes and writes them whole. */
export function writeFileDurably(file: string, fill: (write: (bytes: Uint8Array) => void) => void): void {
  const descriptor = openSync(file, 'wx');
  try {
    fill((bytes) => {
      for (let at = 0; at < bytes.length;) at += writeSync(descriptor, bytes, at, bytes.length - at);
    });
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes names created, renamed or removed in a folder durable. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** The bytes of a typed array, without copying. */
export function bytesOf(array: Float32Array | Uint16Array | Int32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
