// The mark that a folder of the cache is whole: what it was made from and the size, time and hash of each file.
// Refuses to know what the files are for.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { explainFileError, systemCode } from './setup-error.js';

export const markerName = 'lockstep.json';

const markerSchema = z.object({
  /** What the folder was made from; another text means that it is out of date. */
  origin: z.string(),
  files: z.array(z.object({ path: z.string(), bytes: z.number(), modifiedMs: z.number(), sha256: z.string() })),
});
export type Marker = z.infer<typeof markerSchema>;

/** SHA-256 (or another algorithm) of a file, hex unless said otherwise. */
export async function hashFile(
  path: string,
  algorithm: 'sha256' | 'sha512' = 'sha256',
  encoding: 'hex' | 'base64' = 'hex',
): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest(encoding);
}

/**
 * The mark of a folder whose files are all there and unchanged; undefined otherwise. Cheap: size and time of each file
 * are compared, and only a file whose time differs (a copied cache) is hashed.
 */
export async function checkFolder(folder: string, origin: string): Promise<Marker | undefined> {
  const marker = await readMarker(folder);
  if (marker === undefined || marker.origin !== origin) return undefined;
  for (const file of marker.files) {
    const path = join(folder, file.path);
    try {
      const { size, mtimeMs } = await stat(path);
      if (size !== file.bytes) return undefined;
      if (Math.trunc(mtimeMs) === file.modifiedMs) continue;
      if ((await hashFile(path)) !== file.sha256) return undefined;
      await utimes(path, file.modifiedMs / 1000, file.modifiedMs / 1000);
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      // A cache that others own cannot be touched; the hash was right all the same.
      if (systemCode(error) !== 'EPERM' && systemCode(error) !== 'EROFS' && systemCode(error) !== 'EACCES') throw error;
    }
  }
  return marker;
}

/**
 * Makes a folder of the cache at once: `fill` writes into a folder beside it and names the files (with their SHA-256
 * where it has them), then the mark is written and the folder renamed. What lay there before is replaced. The caller
 * holds the cache's lock, so a folder left over from an interrupted run is nobody's and is cleared.
 */
export async function makeFolder(
  folder: string,
  origin: string,
  fill: (draft: string) => Promise<readonly { readonly path: string; readonly sha256?: string }[]>,
): Promise<Marker> {
  const draft = `${folder}.partial`;
  const old = `${folder}.old`;
  try {
    await rm(draft, { recursive: true, force: true });
    await rm(old, { recursive: true, force: true });
    await mkdir(draft, { recursive: true });
    const files = [];
    for (const { path, sha256 } of await fill(draft)) {
      const { size, mtimeMs } = await stat(join(draft, path));
      const hash = sha256 ?? (await hashFile(join(draft, path)));
      files.push({ path, bytes: size, modifiedMs: Math.trunc(mtimeMs), sha256: hash });
    }
    const marker: Marker = { origin, files };
    await writeFile(join(draft, markerName), `${JSON.stringify(marker, null, 1)}\n`, { flush: true });
    await rename(folder, old).catch((error: unknown) => {
      if (systemCode(error) !== 'ENOENT') throw error;
    });
    await rename(draft, folder);
    await rm(old, { recursive: true, force: true });
    return marker;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw explainFileError(error, dirname(folder));
  }
}

async function readMarker(folder: string): Promise<Marker | undefined> {
  let text: string;
  try {
    text = await readFile(join(folder, markerName), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    return markerSchema.parse(JSON.parse(text));
  } catch (error) {
    // A torn or foreign mark marks nothing: the folder is made anew.
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}
