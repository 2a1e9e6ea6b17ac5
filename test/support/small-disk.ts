// A disk that can be filled: a small file system of its own where the tests may mount one, else a limit on the size of the
// coordinator's files. Refuses to pretend: either way it is the kernel that says no.
import { execFileSync } from 'node:child_process';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startSystem, type TestSystem } from './system.js';

/** Room for several checkpoints of a small net. */
const size = '8m';
/** Below the size of its checkpoints' files. Bytes. */
const fileLimit = 100_000;

export interface SmallDisk {
  readonly system: TestSystem;
  /** Nothing more can be written from now on (with a limit: nothing large). */
  readonly fill: () => void;
  readonly makeRoom: () => void;
}

/**
 * A system with one worker whose data lie on a disk that can be filled; where only `large` files are to fail, a limit on
 * their size does it.
 */
export async function startOnSmallDisk(fails: 'everything' | 'large' = 'everything'): Promise<SmallDisk> {
  const system = await startSystem({ workers: 1, ...(fails === 'everything' ? { furnish: mountSmallDisk } : {}) });
  const { dataDir, coordinator } = system;
  const filler = join(dataDir, 'filler');
  if (statSync(dataDir).dev !== statSync(join(dataDir, '..')).dev) {
    return { system, fill: () => fillUp(filler), makeRoom: () => rmSync(filler, { force: true }) };
  }
  const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(coordinator.pid), `--fsize=${bytes}:`]);
  return { system, fill: () => limit(String(fileLimit)), makeRoom: () => coordinator.running && limit('unlimited') };
}

/** Leaves the folder as it is where mounting is not allowed. */
function mountSmallDisk(dataDir: string): () => void {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'lockstep-test', dataDir], { stdio: 'ignore' });
  } catch {
    return () => undefined; // not root, or no `mount` here: the limit does instead
  }
  return () => execFileSync('umount', [dataDir]);
}

/** Writes until there is no room. */
function fillUp(path: string): void {
  const piece = Buffer.alloc(4096);
  try {
    for (;;) writeFileSync(path, piece, { flag: 'a' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}
