import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireLock, lockHolder, waitForLock } from './lock.js';
import { SetupError } from './setup-error.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'lockstep-lock-'))));
afterEach(async () => await rm(folder, { recursive: true }));

describe('acquireLock', () => {
  it('gives a folder to one holder, whatever path leads there, and leaves no file', async () => {
    const lock = await acquireLock(folder);
    await symlink(folder, `${folder}-link`);
    expect(await acquireLock(`${folder}-link`)).toBeUndefined();
    await rm(`${folder}-link`);
    expect(await readdir(folder)).toEqual([]);
    expect(await lockHolder(folder)).toBe(process.pid);
    await lock?.release();
    expect(await lockHolder(folder)).toBeUndefined();
    const again = await acquireLock(folder);
    expect(again).toBeDefined();
    await again?.release();
  });

  it('keeps folders and purposes apart, and makes a folder that is missing', async () => {
    const locks = [
      await acquireLock(folder),
      await acquireLock(folder, 'other'),
      await acquireLock(join(folder, 'a/b')),
    ];
    expect(locks.every((lock) => lock !== undefined)).toBe(true);
    for (const lock of locks) await lock?.release();
  });

  it('gives one of many who come at once the lock', async () => {
    const locks = await Promise.all(Array.from({ length: 20 }, async () => await acquireLock(folder)));
    const held = locks.filter((lock) => lock !== undefined);
    expect(held).toHaveLength(1);
    await held[0]?.release();
  });

  it('is free again at once when its holder is killed', async () => {
    const holder = spawn(process.execPath, ['--input-type=module', '-e', holderScript(folder)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    expect(await acquireLock(folder)).toBeUndefined();
    expect(await lockHolder(folder)).toBe(holder.pid);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    const mine = await acquireLock(folder);
    expect(mine).toBeDefined();
    await mine?.release();
  });
});

describe('waitForLock', () => {
  it('waits until the holder lets go, and says whom it waits for', async () => {
    const first = await acquireLock(folder, 'x');
    const waitedFor: (number | undefined)[] = [];
    const second = waitForLock(folder, 'x', { deadlineMs: 10_000, onWait: (holder) => waitedFor.push(holder) });
    await expect.poll(() => waitedFor).toEqual([process.pid]);
    await first?.release();
    await (await second).release();
  });

  it('gives up at its deadline with a sentence', async () => {
    const first = await acquireLock(folder, 'x');
    const second = waitForLock(folder, 'x', { deadlineMs: 1, onWait: () => {} });
    await expect(second).rejects.toThrow(SetupError);
    await first?.release();
  });
});

/** The same name by the same rule, in plain JavaScript, so that no build is needed. */
function holderScript(path: string): string {
  return `
    import { createHash } from 'node:crypto';
    import { statSync } from 'node:fs';
    import { createServer } from 'node:net';
    const { dev, ino } = statSync(${JSON.stringify(path)}, { bigint: true });
    const digest = createHash('sha256').update(dev + ':' + ino + ':folder').digest('hex').slice(0, 32);
    createServer((socket) => socket.end(String(process.pid))).listen({ path: '\\0lockstep-' + digest }, () => console.log('held'));
  `;
}
