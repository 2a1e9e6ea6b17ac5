// The folder in memory through which workers on this host pass tensors: made anew at each start, gone with the coordinator; what
// killed coordinators and workers left is cleared away. Refuses to know what the files hold.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { SharedMemory } from '#proto/generated/lockstep/v1/pool.js';
import { acquireLock, type Lock } from './setup/lock.js';
import type { PoolWorker, RegistryListener } from './workers/worker-registry.js';

const purpose = 'shared memory';

export class SharedFolder implements RegistryListener {
  /** What workers are told. */
  readonly announcement: SharedMemory;
  readonly #lock: Lock;

  private constructor(announcement: SharedMemory, lock: Lock) {
    this.announcement = announcement;
    this.#lock = lock;
  }

  /** Makes the folder below `parent`, a folder in memory. Rejects where the parent does not take it. */
  static async make(parent: string): Promise<SharedFolder> {
    const prefix = `lockstep-${realm()}-`;
    await clearAbandoned(parent, prefix);
    const folder = join(parent, `${prefix}${randomBytes(8).toString('hex')}`);
    mkdirSync(folder, { mode: 0o700 });
    const lock = await acquireLock(folder, purpose);
    if (lock === undefined) throw new Error(`The new folder ${folder} is locked already.`);
    const word = randomBytes(16).toString('hex');
    writeFileSync(join(folder, 'word'), word, { mode: 0o600 });
    return new SharedFolder({ folder, word }, lock);
  }

  workerChanged(): void {}

  /** Its pushes are over, however it ended. */
  workerGone({ id }: PoolWorker): void {
    const { folder } = this.announcement;
    try {
      for (const name of readdirSync(folder)) {
        if (name.startsWith(`${id}-`)) rmSync(join(folder, name), { force: true });
      }
    } catch {
      // The folder is gone (systemd-logind clears a user's memory at the last logout): so are the files.
    }
  }

  async remove(): Promise<void> {
    try {
      rmSync(this.announcement.folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // A worker that has not heard of the end made a file just now: the next start clears it.
    }
    await this.#lock.release();
  }
}

/** Whose locks can be seen from here: other containers may share the memory, and must not lose theirs. */
function realm(): string {
  const network = readlinkSync('/proc/self/ns/net');
  return createHash('sha256').update(`${hostname()} ${network}`).digest('hex').slice(0, 12);
}

/** Folders whose coordinator was killed: nobody holds their lock any more. */
async function clearAbandoned(parent: string, prefix: string): Promise<void> {
  for (const name of readdirSync(parent).filter((each) => each.startsWith(prefix))) {
    const folder = join(parent, name);
    let lock: Lock | undefined;
    try {
      // Somebody may be making an empty one, and about to lock it.
      if (readdirSync(folder).length === 0) continue;
      lock = await acquireLock(folder, purpose);
      if (lock !== undefined) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Another user's, or just gone: theirs to clear. Where a worker makes files there still, the next start clears them.
    } finally {
      await lock?.release();
    }
  }
}
