import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../config.js';
import { readCpu } from './cpu.js';
import { checkNode, dataFolderLock, runDoctor, type Finding } from './doctor.js';
import { acquireLock } from './lock.js';
import { setup } from './setup.js';
import { freePort } from './valkey.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'lockstep-doctor-'))));
afterEach(async () => await rm(folder, { recursive: true }));

async function examine(options: Partial<Parameters<typeof runDoctor>[0]>): Promise<Map<string, Finding>> {
  const defaults = { dataDir: join(folder, 'data'), httpHost: '127.0.0.1', grpcHost: '127.0.0.1', reducers: 1 };
  const findings = await runDoctor({
    ...defaults,
    cacheDir: join(folder, 'cache'),
    httpPort: await freePort(),
    grpcPort: await freePort(),
    ...options,
  });
  return new Map(findings.map((finding) => [finding.name, finding]));
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
}

describe('runDoctor', () => {
  it('finds nothing wrong on a machine that is set up', async () => {
    const { cacheDir, tensorflowDir, redisUrl } = loadConfig(process.env);
    await setup({ cacheDir, tensorflowDir, redisUrl });
    const findings = await examine({ cacheDir, tensorflowDir, redisUrl });
    expect([...findings.values()].filter(({ ok }) => !ok)).toEqual([]);
    expect(findings.get('native addon')?.detail).toMatch(/^TensorFlow \d+\.\d+\.\d+ answers/);
    expect(findings.get('device')?.detail).toMatch(/bfloat16/);
  }, 300_000);

  it('names each thing that is missing, with a remedy', async () => {
    const findings = await examine({ environment: { PATH: join(folder, 'nothing') } });
    for (const name of ['C++ compiler', 'pip', 'TensorFlow library', 'native addon', 'Redis']) {
      expect(findings.get(name), name).toMatchObject({
        ok: false,
        remedy: expect.stringMatching(/Install|lockstep setup/),
      });
    }
    expect(findings.get('Node')?.ok).toBe(true);
  });

  it('names a port that is taken and the variable that moves it', async () => {
    const server = createServer((socket) => socket.end('220 mail\r\n'));
    const taken = await listen(server);
    const findings = await examine({ httpPort: taken, grpcPort: taken - 1 });
    expect(findings.get('HTTP port')).toMatchObject({
      ok: false,
      detail: `127.0.0.1:${taken} is in use by another program.`,
      remedy: expect.stringMatching(/up --http-port 9000.*LOCKSTEP_HTTP_PORT/),
    });
    expect(findings.get('gRPC port of slice 0')).toMatchObject({
      ok: false,
      remedy: expect.stringContaining('LOCKSTEP_GRPC_PORT'),
    });
    server.close();
  });

  it.each([
    ['ready', 200, { status: 'ready' }, /a Lockstep coordinator answers there$/],
    ['not ready', 503, { type: 'urn:lockstep:problem:unavailable', status: 503 }, /answers there, and is not ready$/],
  ])('is content with the ports of a Lockstep that runs here and is %s', async (_state, code, body, detail) => {
    const server = createHttpServer((request, response) => {
      response.statusCode = request.url === '/health/ready' ? code : 404;
      response.end(JSON.stringify(body));
    });
    const control = createServer();
    const [httpPort, grpcPort] = [await listen(server), await listen(control)];
    const findings = await examine({ httpPort, grpcPort, reducers: 0 });
    expect(findings.get('HTTP port')).toMatchObject({ ok: true, detail: expect.stringMatching(detail) });
    expect(findings.get('gRPC port')).toMatchObject({ ok: true, detail: expect.stringContaining('is in use') });
    server.close();
    control.close();
  });

  it('takes no other web server for a Lockstep', async () => {
    const server = createHttpServer((_request, response) => void response.end('{"status":"UP"}'));
    const findings = await examine({ httpPort: await listen(server) });
    expect(findings.get('HTTP port')).toMatchObject({ ok: false, detail: expect.stringContaining('another program') });
    server.close();
  });

  it('does not show the password of a Redis that does not answer', async () => {
    const port = await freePort();
    const finding = (await examine({ redisUrl: `redis://:secret@127.0.0.1:${port}` })).get('Redis');
    expect(finding).toMatchObject({ ok: false, detail: expect.stringContaining('does not answer') });
    expect(JSON.stringify(finding)).not.toContain('secret');
  });

  it('says who uses the data folder', async () => {
    const lock = await acquireLock(join(folder, 'data'), dataFolderLock);
    const finding = (await examine({})).get('data folder');
    expect(finding?.detail).toContain(`in use by process ${process.pid}`);
    await lock?.release();
  });

  it('lists NVIDIA devices that the driver names', async () => {
    await mkdir(join(folder, 'bin'));
    await writeFile(join(folder, 'bin/nvidia-smi'), '#!/bin/sh\necho "NVIDIA Model 1"\n');
    await chmod(join(folder, 'bin/nvidia-smi'), 0o755);
    const findings = await examine({ environment: { PATH: join(folder, 'bin') } });
    expect(findings.get('device')?.detail).toContain('NVIDIA: NVIDIA Model 1');
  });
});

describe('checkNode', () => {
  it.each([
    ['18.20.0', false],
    ['20.18.3', false],
    ['20.19.0', true],
    ['21.7.0', false],
    ['22.11.0', false],
    ['22.12.0', true],
    ['23.5.0', false],
    ['24.0.0', true],
    ['26.1.0', true],
  ])('%s: %s', (version, ok) => {
    expect(checkNode(version).ok).toBe(ok);
  });
});

describe('readCpu', () => {
  it('tells from the flags whether bfloat16 is fast', async () => {
    const path = join(folder, 'cpuinfo');
    await writeFile(path, 'processor : 0\nflags\t\t: fpu avx avx2 avx512f avx512_bf16\nbugs :\n');
    expect(await readCpu(path)).toMatchObject({
      instructionSets: ['avx', 'avx2', 'avx512f', 'avx512_bf16'],
      fastBfloat16: true,
    });
    await writeFile(path, 'flags\t\t: fpu avx avx2 avx512_bf16_not\n');
    expect((await readCpu(path)).fastBfloat16).toBe(false);
    expect((await readCpu(join(folder, 'nowhere'))).fastBfloat16).toBe(false);
  });
});
