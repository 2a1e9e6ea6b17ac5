import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SharedFolder } from './shared-folder.js';
import type { PoolWorker } from './workers/worker-registry.js';

let parent: string;
beforeEach(() => (parent = mkdtempSync(join(tmpdir(), 'lockstep-shared-folder-'))));
afterEach(() => rmSync(parent, { recursive: true }));

const worker = { id: 'w-1' } as PoolWorker;

describe('SharedFolder', () => {
  it('loses a gone worker’s files and no others', async () => {
    const shared = await SharedFolder.make(parent);
    const { folder } = shared.announcement;
    for (const name of ['w-1-1.push', 'w-1-2.push', 'w-10-1.push', 'j1-0-float32-0.version']) {
      writeFileSync(join(folder, name), '');
    }
    shared.workerGone(worker);
    expect(readdirSync(folder).toSorted()).toEqual(['j1-0-float32-0.version', 'w-10-1.push', 'word']);
    await shared.remove();
    expect(readdirSync(parent)).toEqual([]);
  });

  it('is missed by nobody when something else has cleared it away', async () => {
    const shared = await SharedFolder.make(parent);
    rmSync(shared.announcement.folder, { recursive: true });
    expect(() => shared.workerGone(worker)).not.toThrow();
    await shared.remove();
  });

  it('stands beside that of another coordinator', async () => {
    const [first, second] = await Promise.all([SharedFolder.make(parent), SharedFolder.make(parent)]);
    expect(readdirSync(parent)).toHaveLength(2);
    await first.remove();
    await second.remove();
  });

  it('clears what killed coordinators left, but not what another one is about to lock', async () => {
    const shared = await SharedFolder.make(parent);
    const sibling = (digit: string) => shared.announcement.folder.replace(/[0-9a-f]{16}$/, digit.repeat(16));
    mkdirSync(sibling('0'));
    writeFileSync(join(sibling('0'), 'w-1-1.push'), 'left');
    mkdirSync(sibling('1'));
    const next = await SharedFolder.make(parent);
    expect([shared.announcement.folder, sibling('0'), sibling('1')].map((path) => existsSync(path))).toEqual([
      true,
      false,
      true,
    ]);
    await next.remove();
    await shared.remove();
  });
});
