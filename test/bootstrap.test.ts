// scripts/bootstrap.mjs and scripts/lockstep.mjs in a small clone of their own, with an npm that only notes what it is asked for.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('../scripts/bootstrap.mjs', import.meta.url));
const cli = 'dist/apps/coordinator/src/cli/main.js';
const lockfile = {
  packages: { '': {}, 'node_modules/a': { version: '1.0.0' }, 'node_modules/b': { version: '1.0.0', optional: true } },
};

/** What `npm run build` makes here: a command that prints its arguments, then does what the first one says. */
const command = `
const [verb, what] = process.argv.slice(2);
if (what === 'wait') {
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => { console.log('got ' + signal); process.exit(3); });
  setInterval(() => {}, 1000);
}
console.log('ran ' + process.argv.slice(2).join(' '));
if (what === 'fail') process.exit(7);
`;

const npm = `#!/bin/sh
echo "$@" >> calls
case "$1" in
  ci) [ -e no-network ] && { echo "npm error code ENOTFOUND" >&2; exit 1; }
      mkdir -p node_modules; cp package-lock.json node_modules/.package-lock.json;;
  run) [ -e bad-source ] && exit 2; mkdir -p ${dirname(cli)}; cp command.cjs ${cli};;
esac
[ -e slow ] && sleep 1
exit 0
`;

let clone: string;
beforeEach(async () => {
  clone = await mkdtemp(join(tmpdir(), 'lockstep-clone-'));
  await mkdir(join(clone, 'scripts'));
  await mkdir(join(clone, 'bin'));
  await mkdir(join(clone, 'libs'));
  await copyFile(script, join(clone, 'scripts/bootstrap.mjs'));
  await writeFile(join(clone, 'package-lock.json'), JSON.stringify(lockfile));
  await writeFile(join(clone, 'libs/source.ts'), 'first');
  await writeFile(join(clone, 'command.cjs'), command);
  await writeFile(join(clone, 'bin/npm'), npm);
  await chmod(join(clone, 'bin/npm'), 0o755);
});
afterEach(async () => await rm(clone, { recursive: true }));

function start(...args: string[]): ChildProcess {
  return spawn(process.execPath, ['scripts/bootstrap.mjs', ...args], {
    cwd: clone,
    env: { ...process.env, PATH: `${clone}/bin:${process.env['PATH']}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function finish(child: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (text: Buffer) => (output.stdout += text.toString()));
  child.stderr?.on('data', (text: Buffer) => (output.stderr += text.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...output };
}

const bootstrap = async (...args: string[]): ReturnType<typeof finish> => await finish(start(...args));
const calls = async (): Promise<string[]> => {
  const text = await readFile(join(clone, 'calls'), 'utf8').catch(() => '');
  return text
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((name) => name !== '');
};

describe('scripts/bootstrap.mjs', () => {
  it('installs, builds and runs; then only runs', async () => {
    const first = await bootstrap('up', '--workers', '0');
    expect(first).toMatchObject({
      code: 0,
      stdout: 'ran up --workers 0\n',
      stderr: 'Installing npm packages …\nBuilding (about half a minute) …\n',
    });
    expect(await bootstrap('demo', '--keep')).toEqual({ code: 0, stdout: 'ran demo --keep\n', stderr: '' });
    expect(await calls()).toEqual(['ci', 'run']);
  });

  it('builds again when a source changes, and installs again when the lockfile does', async () => {
    await bootstrap('demo');
    await writeFile(join(clone, 'libs/source.ts'), 'second');
    await bootstrap('demo');
    expect(await calls()).toEqual(['ci', 'run', 'run']);
    await writeFile(
      join(clone, 'package-lock.json'),
      JSON.stringify({ packages: { 'node_modules/a': { version: '2.0.0' } } }),
    );
    await bootstrap('demo');
    expect(await calls()).toEqual(['ci', 'run', 'run', 'ci', 'run']);
  });

  it('takes an installation made by hand where it is what the lockfile asks for', async () => {
    await mkdir(join(clone, 'node_modules'));
    const installed = { packages: { 'node_modules/a': { version: '1.0.0' } } };
    await writeFile(join(clone, 'node_modules/.package-lock.json'), JSON.stringify(installed));
    await bootstrap('demo');
    expect(await calls()).toEqual(['run']);
  });

  it('installs where an installation was interrupted or belongs to another lockfile', async () => {
    await mkdir(join(clone, 'node_modules'));
    await bootstrap('demo');
    expect(await calls()).toEqual(['ci', 'run']);
  });

  it.each([
    ['no network', 'no-network', /npm ci failed \(exit code 1\)\. Check the network/],
    ['sources that do not compile', 'bad-source', /The build failed \(exit code 2\)/],
  ])('ends with a sentence and tries again after %s', async (_what, flag, sentence) => {
    await writeFile(join(clone, flag), '');
    const failed = await bootstrap('demo');
    expect(failed.code).toBe(1);
    expect(failed.stderr).toMatch(sentence);
    expect(failed.stderr).not.toMatch(/ at .*\(.*:\d+:\d+\)/);
    await rm(join(clone, flag));
    expect((await bootstrap('demo')).code).toBe(0);
  });

  it('prepares what tests need before it runs them, and leaves the long ones to --long', async () => {
    const vitest = join(clone, 'node_modules/vitest/vitest.mjs');
    await bootstrap('demo');
    await mkdir(join(clone, 'dist/test/support'), { recursive: true });
    await mkdir(dirname(vitest));
    await writeFile(join(clone, 'dist/test/support/prepare.js'), `console.log('prepared')`);
    await writeFile(vitest, `console.log(process.argv.slice(2).join(' '))`);
    expect((await bootstrap('test', 'x')).stdout).toBe('prepared\nrun --project unit --project system x\n');
    expect((await bootstrap('test', '--long')).stdout).toBe('prepared\nrun --project long\n');
    expect((await bootstrap('test', '--project=unit')).stdout).toBe('prepared\nrun --project=unit\n');
  });

  it("keeps the command's exit code", async () => {
    expect((await bootstrap('demo', 'fail')).code).toBe(7);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('passes %s on and waits for the command to end by itself', async (signal) => {
    await bootstrap('demo');
    const child = start('demo', 'wait');
    const finished = finish(child);
    await once(child.stdout!, 'data');
    child.kill(signal);
    expect(await finished).toMatchObject({ code: 3, stdout: `ran demo wait\ngot ${signal}\n` });
  });

  it('ends and begins nothing more when it is stopped while it installs', async () => {
    await writeFile(join(clone, 'slow'), '');
    const child = start('demo');
    const finished = finish(child);
    await expect.poll(calls).toEqual(['ci']);
    child.kill('SIGTERM');
    expect((await finished).code).toBe(143);
    expect(await calls()).toEqual(['ci']);
  });

  it('installs and builds once for two commands at once', async () => {
    await writeFile(join(clone, 'slow'), '');
    const both = await Promise.all([bootstrap('demo', '1'), bootstrap('demo', '2')]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(await calls()).toEqual(['ci', 'run']);
    expect(both.map(({ stderr }) => stderr).join('')).toContain('Waiting for another command');
  });

  it.each([[[]], [['nonsense']], [['toString']]])('says how it is used when given %j', async (args) => {
    const { code, stderr } = await bootstrap(...args);
    expect(code).toBe(2);
    expect(stderr).toBe('Usage: node scripts/bootstrap.mjs demo|up|test|test:device|bench [arguments]\n');
  });
});

describe('scripts/lockstep.mjs', () => {
  const entry = fileURLToPath(new URL('../scripts/lockstep.mjs', import.meta.url));
  const lockstep = async (...args: string[]): ReturnType<typeof finish> =>
    await finish(
      spawn(process.execPath, ['scripts/lockstep.mjs', ...args], { cwd: clone, stdio: ['ignore', 'pipe', 'pipe'] }),
    );

  it('is the package’s command, and may be executed in a clone that was never built', async () => {
    const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
    expect((JSON.parse(text) as { bin: unknown }).bin).toEqual({ lockstep: './scripts/lockstep.mjs' });
    expect((await stat(entry)).mode & 0o111).toBe(0o111);
  });

  it('says what to do before the build, and hands over to the command after it', async () => {
    await copyFile(entry, join(clone, 'scripts/lockstep.mjs'));
    expect(await lockstep('doctor')).toEqual({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^Lockstep is not built in this clone yet: run `npm ci && npm run build`.*\n$/),
    });
    await mkdir(join(clone, dirname(cli)), { recursive: true });
    await writeFile(join(clone, cli), command);
    expect(await lockstep('doctor', 'fail')).toEqual({ code: 7, stdout: 'ran doctor fail\n', stderr: '' });
  });
});
