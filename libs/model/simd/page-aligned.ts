// Owns: memory between threads that begins at a page. Kernels compute with numbers that lie at multiples of 64 bytes in place, and copy
// others; a SharedArrayBuffer of its own promises no such thing, one behind WebAssembly's memory does.
// Refuses to know: what is in it.

const pageBytes = 65_536;

/** At least `bytes` bytes of zeros. @throws RangeError above 4 GiB, where WebAssembly's memory ends */
export function pageAligned(bytes: number): SharedArrayBuffer {
  const pages = Math.max(1, Math.ceil(bytes / pageBytes));
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer as SharedArrayBuffer;
}
