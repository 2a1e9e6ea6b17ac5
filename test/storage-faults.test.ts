// What disks do: full while a job trains, a checkpoint cut short, a torn ledger, a ledger that somebody changed. The job
// pauses or falls back, says why, and ends with the bits of a run to which nothing happened. Refuses to fake file systems.
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { JobView } from '../apps/coordinator/src/jobs/ports.js';
import { expectCleanAudit, hashesOf, type Hashes } from './support/outcomes.js';
import { trainPlainly } from './support/plain-loop.js';
import { startOnSmallDisk } from './support/small-disk.js';
import { syntheticSpec } from './support/specs.js';
import { startSystem, type TestSystem } from './support/system.js';

const steps = 24;
const spec = syntheticSpec({ steps, training: { batchSize: 64 }, rest: { checkpoint: { everySteps: 5, keep: 3 } } });

let quiet: Hashes;
beforeAll(async () => {
  quiet = hashesOf(await trainPlainly(spec));
});

async function expectQuietEnd(system: TestSystem, id: string): Promise<JobView> {
  const job = await system.api.untilState(id, 'completed');
  expect(hashesOf(job)).toEqual(quiet);
  await expectCleanAudit(system, id, steps);
  return job;
}

const folderOf = (system: TestSystem, id: string) => join(system.dataDir, 'jobs', id);

describe('a full disk', () => {
  it('pauses the job with the reason, and resume goes on where it was', async () => {
    const { system, fill, makeRoom } = await startOnSmallDisk();
    const { api } = system;
    const id = await api.submit(spec);
    await api.untilJob(id, ({ step }) => step >= 6);
    fill();
    const paused = await api.untilState(id, 'paused');
    expect(paused.reason).toMatch(/cannot be written.*(ENOSPC|EFBIG).*nothing is lost/is);
    expect(paused.reason).toContain('resume');
    expect(paused.step).toBeGreaterThanOrEqual(6);
    makeRoom();
    await api.act(id, 'resume');
    await expectQuietEnd(system, id);
    const left = readdirSync(join(folderOf(system, id), 'checkpoints'));
    expect(left.filter((name) => !/^step-\d{8}$/.test(name))).toEqual([]);
  });

  it('that takes the ledger but no checkpoint pauses the job, and the checkpoint before is kept', async () => {
    const { system, fill, makeRoom } = await startOnSmallDisk('large');
    const { api } = system;
    const id = await api.submit(spec);
    await api.untilJob(id, ({ checkpoint }) => checkpoint?.step === 5);
    fill();
    const { reason, checkpoint } = await api.untilState(id, 'paused');
    expect(reason).toMatch(
      /^The checkpoint of step \d+ cannot be written: .*EFBIG.* The one before is kept; nothing is lost/,
    );
    const kept = readdirSync(join(folderOf(system, id), 'checkpoints'));
    expect(kept.toSorted().at(-1)).toBe(`step-${String(checkpoint!.step).padStart(8, '0')}`);
    makeRoom();
    await api.act(id, 'resume');
    await expectQuietEnd(system, id);
  });

  it('loses nothing when the coordinator is killed on it, and starts on it', async () => {
    const { system, fill, makeRoom } = await startOnSmallDisk();
    const { api, coordinator } = system;
    const id = await api.submit(spec);
    await api.untilJob(id, ({ step }) => step >= 6);
    fill();
    await api.untilState(id, 'paused');
    await coordinator.killNow();
    await system.restartCoordinator();
    makeRoom();
    const { state } = await api.untilJob(id, (job) => job.state !== 'queued');
    if (state === 'paused') await api.act(id, 'resume');
    await expectQuietEnd(system, id);
  });
});

describe('damaged files', () => {
  /** A job that was killed with its coordinator after checkpoints of steps 5 and 10. */
  async function stoppedAfterTen(): Promise<{ system: TestSystem; id: string }> {
    const system = await startSystem({ workers: 1 });
    const id = await system.api.submit(spec);
    await system.api.untilJob(id, ({ checkpoint, step }) => (checkpoint?.step ?? 0) >= 10 && step >= 12);
    await system.coordinator.killNow();
    return { system, id };
  }

  it.each(['model.safetensors', 'optimizer.safetensors', 'manifest.json'])(
    'a truncated %s in the newest checkpoint falls back to the one before',
    async (name) => {
      const { system, id } = await stoppedAfterTen();
      const folder = join(folderOf(system, id), 'checkpoints');
      const [before, newest] = readdirSync(folder)
        .filter((entry) => entry.startsWith('step-'))
        .sort()
        .slice(-2);
      const file = join(folder, newest!, name);
      truncateSync(file, statSync(file).size >> 1);
      const from = system.coordinator.lines.length;
      await system.restartCoordinator();
      await system.coordinator.line(new RegExp(`${newest}.*${name}.*(damaged|bytes|hash|cut)`), { from });
      const { checkpoint } = await system.api.untilJob(id, (job) => job.state === 'running' && job.checkpoint !== null);
      expect(checkpoint!.step).toBe(Number(before!.slice('step-'.length)));
      await expectQuietEnd(system, id);
    },
  );

  it('a flipped bit in the newest checkpoint falls back to the one before', async () => {
    const { system, id } = await stoppedAfterTen();
    const folder = join(folderOf(system, id), 'checkpoints');
    const newest = readdirSync(folder).sort().at(-1)!;
    const file = join(folder, newest, 'optimizer.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(file, bytes);
    const from = system.coordinator.lines.length;
    await system.restartCoordinator();
    await system.coordinator.line(new RegExp(`${newest}.*optimizer.safetensors`), { from });
    await expectQuietEnd(system, id);
  });

  it('a torn tail of the ledger is computed again', async () => {
    const { system, id } = await stoppedAfterTen();
    const ledger = join(folderOf(system, id), 'ledger.txt');
    truncateSync(ledger, statSync(ledger).size - 25);
    await system.restartCoordinator();
    await expectQuietEnd(system, id);
  });

  it('a changed ledger fails the job and names the line, and the audit finds it', async () => {
    const { system, id } = await stoppedAfterTen();
    const ledger = join(folderOf(system, id), 'ledger.txt');
    writeFileSync(ledger, readFileSync(ledger, 'utf8').replace('"step":3,', '"step":4,'));
    await system.restartCoordinator();
    const job = await system.api.untilJob(id, ({ state }) => state === 'failed');
    expect(job.error).toContain('Line 4 of the ledger does not match its checksum');
    expect((await system.api.audit(id)).problems).toContainEqual(expect.stringContaining('Line 4 of the ledger'));
  });
});
