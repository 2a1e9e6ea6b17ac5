// Owns: what an indexing that was broken off has found so far: a line per folder or archive, appended when it is done.
// Refuses to know: what a finding means. A torn last line is dropped; a journal of another indexing is begun anew.
import { constants } from 'node:fs';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { DatasetError } from './dataset-error.js';

/** What was found in one folder or archive. */
const findingsSchema = z.strictObject({
  entries: z.array(
    z.tuple([
      /** Name, bytes, offset in the archive, CRC-32, time of change in milliseconds, bits of `imageTraits`, class's name. */
      z.string(),
      z.number(),
      z.number(),
      z.number(),
      z.number(),
      z.number(),
      z.string(),
    ]),
  ),
  /** Name, and what is wrong with it. */
  broken: z.array(z.tuple([z.string(), z.string()])),
  ignored: z.array(z.string()),
});
export type UnitFindings = z.infer<typeof findingsSchema>;

const lineSchema = z.strictObject({ key: z.string(), stamp: z.string(), findings: findingsSchema });

export class IndexJournal {
  readonly #path: string;
  readonly #file: FileHandle;
  /** Lines by key. */
  readonly #known: ReadonlyMap<string, string>;
  #added = 0;

  private constructor(path: string, file: FileHandle, known: ReadonlyMap<string, string>) {
    this.#path = path;
    this.#file = file;
    this.#known = known;
  }

  /** @param purpose what is being indexed and how; lines of a journal with another purpose are dropped */
  static async open(path: string, purpose: string): Promise<IndexJournal> {
    const first = JSON.stringify({ purpose });
    const text = await readFile(path, 'utf8').catch(() => '');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const lines = whole.split('\n').slice(0, -1);
    const fits = lines[0] === first;
    const file = await openItself(
      path,
      fits ? constants.O_RDWR : constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC,
    );
    if (fits) await file.truncate(Buffer.byteLength(whole));
    else await file.writeFile(`${first}\n`);
    const known = new Map<string, string>();
    if (fits) for (const line of lines.slice(1)) known.set(keyOf(line), line);
    return new IndexJournal(path, await reopened(path, file), known);
  }

  /** What was found under this key, where the stamp still is the same. */
  findingsOf(key: string, stamp: string): UnitFindings | undefined {
    const line = this.#known.get(key);
    if (line === undefined) return undefined;
    const parsed = lineSchema.safeParse(safeJson(line));
    return parsed.success && parsed.data.stamp === stamp ? parsed.data.findings : undefined;
  }

  async add(key: string, stamp: string, findings: UnitFindings): Promise<void> {
    this.#added += 1;
    await this.#file.appendFile(`${JSON.stringify({ key, stamp, findings })}\n`);
  }

  /** The index is there: the journal is of no more use. */
  async remove(): Promise<void> {
    await this.#file.close();
    await rm(this.#path, { force: true });
  }

  /** Keeps it for the next try, where there is something to keep. */
  async close(): Promise<void> {
    if (this.#known.size === 0 && this.#added === 0) return this.remove();
    await this.#file.close();
  }
}

/** For appending: what is there was cut to whole lines. */
async function reopened(path: string, file: FileHandle): Promise<FileHandle> {
  await file.close();
  return openItself(path, constants.O_WRONLY | constants.O_APPEND);
}

/** A dataset may have come with a link of this name: what it leads to is not to be written over. */
async function openItself(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW, 0o666);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOOP') throw error;
    throw new DatasetError(`${path} is a symbolic link, and nothing is written through it: remove it`, {
      cause: error,
    });
  }
}

function keyOf(line: string): string {
  const end = line.indexOf(',"stamp":');
  const key = safeJson(line.slice('{"key":'.length, Math.max(end, 0)));
  return typeof key === 'string' ? key : '';
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a line that cannot be read is found out anew
  }
}
