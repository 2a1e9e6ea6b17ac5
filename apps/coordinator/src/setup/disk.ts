// Room on the disk, asked before something large is fetched.
// Refuses to know what the room is for.
import { mkdir, statfs } from 'node:fs/promises';
import { formatBytes } from './progress.js';
import { explainFileError, SetupError } from './setup-error.js';

/** Bytes that this user may still write where `folder` lies (the folder is made where it is missing). */
export async function freeBytes(folder: string): Promise<number> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw explainFileError(error, folder);
  }
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize;
}

/** Throws a `SetupError` where fewer than `bytes` are free. */
export async function requireFreeBytes(folder: string, bytes: number, what: string): Promise<void> {
  const free = await freeBytes(folder);
  if (free >= bytes) return;
  throw new SetupError(
    `Too little room on the disk for ${what}: ${formatBytes(bytes)} needed, ${formatBytes(free)} free in ${folder}.`,
    'Free some space, or point LOCKSTEP_CACHE_DIR at a folder on another disk.',
  );
}
