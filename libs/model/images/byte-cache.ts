// Owns: a bounded memory of files' bytes; what was used longest ago goes first.
// Refuses to know: files, and who reads them.

export class ByteCache {
  /** In order of last use. */
  readonly #entries = new Map<string, Uint8Array>();
  readonly #limit: number;
  #bytes = 0;
  #hits = 0;

  /** @param limitBytes 0: keeps nothing */
  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** How often something was found. */
  get hits(): number {
    return this.#hits;
  }

  get(key: string): Uint8Array | undefined {
    const found = this.#entries.get(key);
    if (found === undefined) return undefined;
    this.#hits += 1;
    this.#entries.delete(key);
    this.#entries.set(key, found);
    return found;
  }

  /** Keeps the bytes, unless they alone would be too much. */
  put(key: string, bytes: Uint8Array): void {
    this.#drop(key);
    if (bytes.length > this.#limit) return;
    this.#entries.set(key, bytes);
    this.#bytes += bytes.length;
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes <= this.#limit) break;
      this.#drop(oldest);
    }
  }

  #drop(key: string): void {
    this.#bytes -= this.#entries.get(key)?.length ?? 0;
    this.#entries.delete(key);
  }
}
