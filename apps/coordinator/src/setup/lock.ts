// A lock on a folder between processes of one machine, which the kernel drops however its holder ends.
// Refuses to know what the lock protects. Does not reach across network namespaces (two containers with one volume).
import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupError, systemCode } from './setup-error.js';

export interface Lock {
  release(): Promise<void>;
}

const pollMs = 200;
const askHolderMs = 1000;

/**
 * Locks a folder (made where it is missing); undefined where another process, or this one, holds it already.
 * The lock is a listening socket in Linux's abstract namespace, named after the folder's device and inode, so that
 * it leaves no file behind and any path to the folder means the same lock. It does not keep the process alive.
 */
export async function acquireLock(folder: string, purpose = 'folder'): Promise<Lock | undefined> {
  const name = await socketName(folder, purpose);
  // Whoever connects is told who holds the lock.
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(String(process.pid));
  });
  return await new Promise((resolve, reject) => {
    server.once('error', (error) => {
      if (systemCode(error) === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ path: name }, () => {
      server.unref();
      resolve({ release: async () => await new Promise<void>((done) => server.close(() => done())) });
    });
  });
}

/** Process id of the lock's holder; undefined where nobody holds it or the holder is too busy to answer. */
export async function lockHolder(folder: string, purpose = 'folder'): Promise<number | undefined> {
  const name = await socketName(folder, purpose);
  return await new Promise((resolve) => {
    let text = '';
    const socket = connect({ path: name });
    const finish = (): void => {
      socket.destroy();
      resolve(/^\d+$/.test(text) ? Number(text) : undefined);
    };
    socket.setTimeout(askHolderMs, finish);
    socket.on('data', (data) => (text += data.toString('latin1')));
    socket.once('end', finish);
    socket.once('error', finish);
  });
}

/** Waits for a lock; `onWait` is called once if it is not to be had at once. */
export async function waitForLock(
  folder: string,
  purpose: string,
  options: { readonly deadlineMs: number; readonly onWait: (holder: number | undefined) => void },
): Promise<Lock> {
  const deadline = Date.now() + options.deadlineMs;
  let told = false;
  for (;;) {
    const lock = await acquireLock(folder, purpose);
    if (lock !== undefined) return lock;
    const holder = await lockHolder(folder, purpose);
    if (Date.now() >= deadline) {
      throw new SetupError(
        `Another process (${holder ?? 'unknown'}) has been setting up ${folder} for more than ${Math.round(options.deadlineMs / 1000)} s.`,
        'Wait for it or end it, then try again.',
      );
    }
    if (!told) options.onWait(holder);
    told = true;
    await sleep(pollMs);
  }
}

async function socketName(folder: string, purpose: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const { dev, ino } = await stat(folder, { bigint: true });
  const digest = createHash('sha256').update(`${dev}:${ino}:${purpose}`).digest('hex').slice(0, 32);
  return `\0lockstep-${digest}`;
}
