import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { setup } from './setup.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'lockstep-setup-'))));
afterEach(async () => await rm(folder, { recursive: true }));

describe('setup', () => {
  it('finds everything there the second time, fetches nothing and is quick', async () => {
    const { cacheDir, tensorflowDir, redisUrl } = loadConfig(process.env);
    const first = await setup({ cacheDir, tensorflowDir, redisUrl });
    const startedAt = performance.now();
    // Without a search path nothing could be fetched or compiled.
    const environment =
      redisUrl === undefined && first.queue.kind === 'binary' && first.queue.binary.source === 'cache'
        ? { PATH: '' }
        : process.env;
    const second = await setup({ cacheDir, tensorflowDir, redisUrl, offline: true, environment });
    expect(second).toEqual({ ...first, unchanged: true });
    expect(performance.now() - startedAt).toBeLessThan(300);
  }, 300_000);

  it('needs no Valkey of its own where REDIS_URL names one', async () => {
    const { cacheDir, tensorflowDir } = loadConfig(process.env);
    const { queue } = await setup({ cacheDir, tensorflowDir, redisUrl: 'redis://somewhere:6379' });
    expect(queue).toEqual({ kind: 'running', url: 'redis://somewhere:6379' });
  }, 300_000);

  it('lets one of two at once work while the other waits', async () => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    const script = `case "$*" in *--version) exit 0;; esac
echo begin >> ${folder}/log; /bin/sleep 0.2; echo end >> ${folder}/log
echo "ERROR: nothing here" >&2; exit 1`;
    await writeFile(join(bin, 'python3'), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, 'python3'), 0o755);
    const said: string[] = [];
    const options = {
      cacheDir: join(folder, 'cache'),
      environment: { PATH: bin },
      report: { say: (sentence: string) => void said.push(sentence), progress: () => {}, finish: () => {} },
    };
    const results = await Promise.allSettled([setup(options), setup(options)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect((await readFile(join(folder, 'log'), 'utf8')).trim().split('\n')).toEqual(['begin', 'end', 'begin', 'end']);
    expect(said).toContainEqual(expect.stringMatching(/^Waiting for process \d+, which is setting up/));
  });

  it('says in a sentence that the cache cannot be made', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(setup({ cacheDir: join(folder, 'file', 'cache') })).rejects.toThrow(/cache/);
  });
});
