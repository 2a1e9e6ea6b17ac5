import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { silentReporter } from './progress.js';
import { SetupError, systemCode } from './setup-error.js';
import { inheritedEnvironment } from './subprocess.js';
import { ensureValkey } from './valkey-binary.js';
import { freePort, guardScript, startValkey } from './valkey.js';

const { cacheDir } = loadConfig(process.env);
let binary: string;
let dir: string;
beforeAll(async () => {
  const settings = { cacheDir, offline: false, report: silentReporter, environment: inheritedEnvironment };
  binary = (await ensureValkey(settings)).path;
}, 60_000);
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'lockstep-valkey-'))));
afterEach(async () => await rm(dir, { recursive: true }));

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ESRCH') return false;
    throw error;
  }
}

describe('startValkey', () => {
  it.each([
    ['a free port', {}],
    ['a socket', { socketPath: 'valkey.sock' }],
  ])('answers on %s, evicts and keeps nothing, and ends when asked', async (_what, place) => {
    const socket = 'socketPath' in place ? { socketPath: join(dir, place.socketPath) } : {};
    const valkey = await startValkey({ binary, dir, ...socket });
    const redis = new Redis(valkey.url);
    expect(await redis.ping()).toBe('PONG');
    expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction']);
    expect(await redis.config('GET', 'save')).toEqual(['save', '']);
    expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'no']);
    redis.disconnect();
    await valkey.stop();
    expect(await valkey.ended).toEqual({ code: 0, signal: null });
    expect(isRunning(valkey.pid)).toBe(false);
    // A second stop finds it gone.
    await valkey.stop();
  });

  it('tells when somebody else ended it, and how', async () => {
    const valkey = await startValkey({ binary, dir });
    process.kill(valkey.pid, 'SIGKILL');
    expect(await valkey.ended).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it('ends a stopped one by force', async () => {
    const valkey = await startValkey({ binary, dir });
    process.kill(valkey.pid, 'SIGSTOP');
    await valkey.stop(100);
    expect(await valkey.ended).toEqual({ code: null, signal: 'SIGKILL' });
  });

  it.each([
    ['that is not there', '/nowhere/valkey-server', /did not start: it ended with exit code 127/],
    ['that does not serve', '/bin/false', /\/bin\/false did not start: it ended with exit code 1 .* set REDIS_URL/],
  ])('says so for a binary %s', async (_what, path, sentence) => {
    const starting = startValkey({ binary: path, dir });
    await expect(starting).rejects.toThrow(SetupError);
    await expect(starting).rejects.toThrow(sentence);
  });

  it('does not take what already answers at its port for its own', async () => {
    const other = await startValkey({ binary, dir, port: await freePort() });
    const port = Number(new URL(other.url).port);
    await expect(startValkey({ binary, dir, port })).rejects.toThrow(/did not start/);
    await other.stop();
  });

  it('gives up on one that never answers', async () => {
    const deaf = createServer(() => {});
    await new Promise<void>((done) => deaf.listen(0, '127.0.0.1', done));
    const address = deaf.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const starting = startValkey({ binary: '/usr/bin/yes', dir, port, readyWithinMs: 300 });
    await expect(starting).rejects.toThrow(/did not start/);
    deaf.close();
  });

  it('refuses a socket whose path is too long for the kernel', async () => {
    await expect(startValkey({ binary, dir, socketPath: join(dir, 'x'.repeat(100)) })).rejects.toThrow(
      /longer than 107 bytes/,
    );
  });
});

describe('a Valkey whose parent is killed', () => {
  it.each(['running', 'stopped'])('ends too while it is %s', async (state) => {
    const port = await freePort();
    const command = ['-c', guardScript, 'lockstep-valkey', binary, '--port', String(port), '--save', ''];
    const script = `
      const child = require('child_process').spawn('/bin/sh', ${JSON.stringify(command)}, { stdio: ['pipe', 'pipe', 'ignore'] });
      child.stdout.pipe(process.stdout);
    `;
    const parent = spawn(process.execPath, ['-e', script], { cwd: dir, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    parent.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
    await expect.poll(() => text).toMatch(/^pid \d+$/m);
    const pid = Number(/^pid (\d+)$/m.exec(text)?.[1]);
    expect(isRunning(pid)).toBe(true);
    if (state === 'stopped') process.kill(pid, 'SIGSTOP');
    parent.kill('SIGKILL');
    await expect.poll(() => isRunning(pid), { timeout: 5000 }).toBe(false);
  });
});
