// Owns: fetched pieces of datasets on this disk: each whole or absent, all together below a bound, those used longest ago go first.
// Refuses to know: what the pieces are. Several processes may share a folder.
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';

interface Kept {
  readonly file: string;
  readonly bytes: number;
  readonly usedMs: number;
}

/** After a hit this long after the last one a piece counts as used again. */
const touchAfterMs = 60_000;
/** How full the folder is left when it was cleared, so that it is not cleared for each piece. */
const clearedShare = 0.9;
/** The folder is looked through again when this share of the bound was written: others write to it, too. */
const lookShare = 1 / 16;

export class FileCache {
  readonly #folder: string;
  readonly #mostBytes: number;
  readonly #underWay = new Map<string, Promise<Uint8Array>>();
  #writtenSinceLook = Number.POSITIVE_INFINITY;
  #clearing: Promise<void> | undefined;

  constructor(folder: string, mostBytes: number) {
    this.#folder = folder;
    this.#mostBytes = mostBytes;
  }

  /**
   * The piece of this key: from the disk, or made and put there. Asked for twice at once it is made once.
   *
   * @param key names joined by '/', each a plain file name
   * @param bytes the length that it must have; a file of another length is made anew
   * @param isRight looks at what was found on the disk; where it does not take it, it is made anew. @default takes it
   */
  async get(
    key: string,
    bytes: number,
    make: () => Promise<Uint8Array>,
    isRight?: (piece: Uint8Array) => boolean,
  ): Promise<Uint8Array> {
    const underWay = this.#underWay.get(key);
    if (underWay !== undefined) return underWay;
    const piece = this.#find(key, bytes, make, isRight).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, piece);
    return piece;
  }

  async #find(
    key: string,
    bytes: number,
    make: () => Promise<Uint8Array>,
    isRight: (piece: Uint8Array) => boolean = () => true,
  ): Promise<Uint8Array> {
    const file = path.join(this.#folder, key);
    const found = await readFile(file).catch(() => undefined); // whatever the cause: it is fetched
    if (found?.length === bytes && isRight(found)) {
      void this.#touch(file);
      return found;
    }
    const made = await make();
    await this.#keep(file, made);
    return made;
  }

  async #touch(file: string): Promise<void> {
    try {
      const now = Date.now();
      if (now - (await stat(file)).mtimeMs > touchAfterMs) await utimes(file, now / 1000, now / 1000);
    } catch {
      // Another process has just removed it, or may write here and this one not: it is only less well known when it was used.
    }
  }

  /** A full or read-only disk costs speed, not the training. */
  async #keep(file: string, piece: Uint8Array): Promise<void> {
    if (piece.length > this.#mostBytes * (1 - clearedShare)) return;
    const beside = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}.writing`;
    try {
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(beside, piece);
      await rename(beside, file);
    } catch {
      await rm(beside, { force: true }).catch(() => undefined);
      return;
    }
    this.#writtenSinceLook += piece.length;
    if (this.#writtenSinceLook > this.#mostBytes * lookShare) {
      this.#writtenSinceLook = 0;
      this.#clearing ??= this.#clear().finally(() => (this.#clearing = undefined));
      await this.#clearing;
    }
  }

  async #clear(): Promise<void> {
    const kept = await filesIn(this.#folder);
    let total = kept.reduce((sum, { bytes }) => sum + bytes, 0);
    // What will be written until the next look must fit, too.
    if (total <= this.#mostBytes * (1 - lookShare)) return;
    for (const { file, bytes } of kept.toSorted((one, other) => one.usedMs - other.usedMs)) {
      if (total <= this.#mostBytes * clearedShare) break;
      await rm(file, { force: true });
      total -= bytes;
    }
  }
}

async function filesIn(folder: string): Promise<Kept[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  const kept: Kept[] = [];
  for (const name of names) {
    const file = path.join(folder, name);
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() === true) kept.push({ file, bytes: found.size, usedMs: found.mtimeMs });
  }
  return kept;
}
