// The command line against a real system: what scripts read from standard output, and exit codes.
// Refuses to look at options and help texts; those are cli/*.spec.ts's.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuditReport, JobView, WorkerView } from '../apps/coordinator/src/jobs/ports.js';
import { endlessSpec, syntheticSpec } from './support/specs.js';
import { cliEntry, startSystem, type TestSystem } from './support/system.js';

interface CommandEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let system: TestSystem;
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'lockstep-cli-'));
  system = await startSystem();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `lockstep` against the system, as from a shell that has LOCKSTEP_URL set. */
function lockstep(...args: string[]): Promise<CommandEnd> {
  return new Promise((resolve) => {
    const env = { ...system.environment, LOCKSTEP_URL: system.url };
    execFile(process.execPath, [cliEntry, ...args], { env, timeout: 90_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The JSON of a command that must succeed. */
async function json<T>(...args: string[]): Promise<T> {
  const end = await lockstep(...args, '--json');
  expect(end, args.join(' ')).toMatchObject({ code: 0 });
  return JSON.parse(end.stdout) as T;
}

function fileWith(name: string, spec: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(spec));
  return path;
}

describe('lockstep', () => {
  it('submit --watch prints the id alone, follows to the end, and exits 0', async () => {
    const path = fileWith('job.json', syntheticSpec({ steps: 12, rest: { evaluation: { everyEpochs: 1 } } }));
    const end = await lockstep('submit', path, '--set', 'name=from the shell', '--watch');
    expect(end.code).toBe(0);
    expect(end.stdout).toMatch(/^\S+\n$/);
    expect(end.stderr).toMatch(/completed/);
    expect(await system.api.job(end.stdout.trim())).toMatchObject({ name: 'from the shell', state: 'completed' });
  });

  it('submit --watch exits 1 when the job does not complete', async () => {
    const watching = lockstep(
      'submit',
      fileWith('endless.json', endlessSpec({ rest: { name: 'to be cancelled' } })),
      '--watch',
    );
    for await (const { type, data } of system.api.events('/api/v1/events')) {
      const job = data as JobView;
      if (type === 'job' && job.name === 'to be cancelled' && job.state === 'running') {
        await system.api.act(job.id, 'cancel');
        break;
      }
    }
    const end = await watching;
    expect(end.code).toBe(1);
    expect(end.stderr).toMatch(/cancelled/);
  });

  it('jobs, show, workers and audit print what the API says', async () => {
    const { id } = await json<{ id: string }>('submit', '--preset', 'resnet20-synthetic', '--set', 'training.steps=3');
    await system.api.untilState(id, 'completed');

    const { jobs } = await json<{ jobs: JobView[] }>('jobs', '--state', 'completed');
    expect(jobs[0]).toMatchObject({ id, step: 3 });
    expect(await json<JobView>('show', id)).toEqual(await system.api.job(id));
    const { workers } = await json<{ workers: WorkerView[] }>('workers');
    expect(workers.map(({ name }) => name).sort()).toEqual(['worker-1', 'worker-2']);
    expect(await json<AuditReport>('audit', id)).toEqual(await system.api.audit(id));

    for (const args of [['jobs'], ['show', id], ['audit', id]]) {
      const { code, stdout } = await lockstep(...args);
      expect(code).toBe(0);
      expect(stdout, args.join(' ')).toContain(args[0] === 'audit' ? 'committed exactly once' : id);
    }
    expect((await lockstep('workers')).stdout).toMatch(/worker-1[^]*worker-2/);
  });

  it('pause, resume, checkpoint, cancel and delete act on a job', async () => {
    const id = await system.api.submit(endlessSpec());
    await system.api.untilJob(id, ({ step }) => step >= 1);
    expect((await lockstep('pause', id)).code).toBe(0);
    await system.api.untilState(id, 'paused');
    expect((await lockstep('resume', id)).code).toBe(0);
    await system.api.untilState(id, 'running');
    expect((await lockstep('delete', id)).stderr).toMatch(/cancel it first/);
    expect((await lockstep('checkpoint', id)).code).toBe(0);
    await system.api.untilJob(id, ({ checkpoint }) => checkpoint !== null && checkpoint.step > 0);
    const cancelled = await lockstep('cancel', id);
    expect(cancelled.code).toBe(0);
    expect(cancelled.stderr).toMatch(new RegExp(`checkpoints keep [\\d.]+ MB; \`npx lockstep delete ${id}\``));
    await system.api.untilState(id, 'cancelled');
    const again = await lockstep('cancel', id);
    expect(again.code).toBe(1);
    expect(again.stderr).toMatch(/cancelled/);
    expect(await json('delete', id)).toEqual({ id, deleted: true });
    expect((await lockstep('show', id)).stderr).toContain('There is no job');
  });

  it('says in one sentence what is wrong with a spec and that a job is not there', async () => {
    const bad = await lockstep('submit', '--preset', 'resnet20-synthetic', '--set', 'training.shardsPerTask=3');
    expect(bad.code).toBe(2);
    expect(bad.stdout).toBe('');
    expect(bad.stderr).toMatch(/training\.shardsPerTask.*power of two/);
    for (const args of [
      ['show', 'nothing'],
      ['audit', 'nothing'],
      ['watch', 'nothing'],
      ['cancel', 'nothing'],
    ]) {
      const end = await lockstep(...args);
      expect(end.code, args.join(' ')).toBe(1);
      expect(end.stderr.trim().split('\n'), args.join(' ')).toHaveLength(1);
      expect(end.stderr).toContain('nothing');
    }
  });
});
