// The timeline of a real system: a valid trace of the steps that were asked for, in which spans nest and follow each other
// as a step does. Refuses to measure: how long anything takes is nobody's business here.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { syntheticSpec } from './support/specs.js';
import { cliEntry, startSystem, type TestSystem } from './support/system.js';

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: { readonly name?: string; readonly step?: number; readonly task?: number };
}
interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: { readonly notes: readonly string[] };
}

const [from, to] = [4, 7];
/** Clocks are aligned to half of the quickest heartbeat's round trip. */
const clockErrorUs = 50_000;

const run = promisify(execFile);

let system: TestSystem;
let jobId: string;
let trace: Trace;

beforeAll(async () => {
  system = await startSystem({ workers: 2, reducers: 2 });
  // Long enough for a heartbeat of each worker to be answered before it is over.
  const rest = { evaluation: { everyEpochs: 1 }, checkpoint: { everySteps: 5 } };
  const job = await system.train(syntheticSpec({ steps: 15, rest }));
  jobId = job.id;
  const response = await fetch(`${system.url}/api/v1/jobs/${jobId}/timeline?from=${from}&to=${to}`);
  expect(response.status).toBe(200);
  trace = (await response.json()) as Trace;
});

const spans = (): TraceEvent[] => trace.traceEvents.filter(({ ph }) => ph === 'X');
const processes = (): Map<number, string> =>
  new Map(
    trace.traceEvents
      .filter(({ ph, name }) => ph === 'M' && name === 'process_name')
      .map(({ pid, args }) => [pid, args.name!]),
  );

describe('the timeline', () => {
  test('has the coordinator, and every worker that had a part', () => {
    expect([...processes().values()].sort()).toEqual(['coordinator', 'worker worker-1', 'worker worker-2']);
  });

  test('has all that belongs to each step, and no other step', () => {
    expect(new Set(spans().map(({ args }) => args.step))).toEqual(new Set([4, 5, 6, 7]));
    for (let step = from; step <= to; step += 1) {
      const own = spans().filter(({ args }) => args.step === step);
      const named = (name: string, cat: string): TraceEvent[] =>
        own.filter((span) => span.name === name && span.cat === cat);
      // Step 4 is the epoch's last, of 17 samples: a single shard. The others have three.
      const tasks = step === 4 ? 1 : 3;
      expect(named(`step ${step}`, 'trainer')).toHaveLength(1);
      for (const name of ['norms', 'update', 'ledger', 'commit']) expect(named(name, 'trainer')).toHaveLength(1);
      for (const slice of [0, 1]) {
        expect(named('update', `slice ${slice} reduce`)).toHaveLength(1);
        expect(named('stage', `slice ${slice} stage`).length).toBeGreaterThanOrEqual(tasks);
        expect(named('add', `slice ${slice} reduce`)).toHaveLength(tasks);
      }
      for (const [cat, name] of [
        ['images', 'images'],
        ['compute', 'train'],
        ['compute', 'forward'],
        ['compute', 'backward'],
        ['send', 'send'],
      ] as const) {
        const of = new Set(named(name, cat).map(({ args }) => args.task));
        expect(
          [...of].toSorted((a, b) => (a ?? 0) - (b ?? 0)),
          `${name} of step ${step}`,
        ).toEqual(Array.from({ length: tasks }, (_, task) => task));
      }
    }
    // Version 5 is the end of the first epoch.
    expect(spans().filter(({ cat }) => cat === 'evaluation')).toHaveLength(1);
    expect(spans().filter(({ cat }) => cat === 'checkpoint')).toHaveLength(1);
  });

  test('spans of a line lie beside or within each other, and blocks within forward and backward', () => {
    const lines = new Map<string, TraceEvent[]>();
    for (const span of spans()) {
      const id = `${span.pid} ${span.tid}`;
      lines.set(id, [...(lines.get(id) ?? []), span]);
    }
    for (const line of lines.values()) {
      for (const one of line) {
        expect(one.dur).toBeGreaterThanOrEqual(0);
        for (const other of line) {
          const beside = one.ts + one.dur <= other.ts || other.ts + other.dur <= one.ts;
          const within = one.ts <= other.ts && other.ts + other.dur <= one.ts + one.dur;
          const around = other.ts <= one.ts && one.ts + one.dur <= other.ts + other.dur;
          expect(beside || within || around, `${one.name} and ${other.name}`).toBe(true);
        }
      }
    }
    const blocks = spans().filter(({ name }) => name.startsWith('layer'));
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) {
      const parents = spans().filter(
        (span) =>
          ['forward', 'backward'].includes(span.name) &&
          span.pid === block.pid &&
          span.tid === block.tid &&
          span.ts <= block.ts &&
          block.ts + block.dur <= span.ts + span.dur,
      );
      expect(parents, block.name).toHaveLength(1);
    }
  });

  test('what workers did for a step lies within it, by the coordinator’s clock', () => {
    expect(trace.otherData.notes.filter((note) => note.includes('times exact to'))).toHaveLength(2);
    for (const step of spans().filter(({ name }) => name.startsWith('step '))) {
      const computed = spans().filter(({ name, args }) => name === 'backward' && args.step === step.args.step);
      expect(computed.length).toBeGreaterThan(0);
      for (const { ts, dur } of computed) {
        expect(ts).toBeGreaterThan(step.ts - clockErrorUs);
        expect(ts + dur).toBeLessThan(step.ts + step.dur + clockErrorUs);
      }
    }
  });

  test('comes from the command line into a file', async () => {
    const out = join(system.dataDir, 'trace.json');
    const lockstep = (...args: string[]) =>
      run(process.execPath, [cliEntry, 'timeline', jobId, '--url', system.url, ...args]);
    const { stdout } = await lockstep('--steps', `${from}-${to}`, '--out', out);
    expect(stdout).toContain(`${out}: 4 steps`);
    const kept = JSON.parse(await readFile(out, 'utf8')) as Trace;
    expect(kept.traceEvents).toHaveLength(trace.traceEvents.length);
    expect((await lockstep('--steps', `${to}`, '--out', out)).stdout).toContain(`${out}: 1 step;`);
    await lockstep('--out', out);
    const newest = JSON.parse(await readFile(out, 'utf8')) as Trace;
    const done = (await system.api.job(jobId)).step;
    expect(newest.traceEvents.filter(({ name }) => name === `step ${done - 1}`)).toHaveLength(1);
    await expect(lockstep('--steps', '900-901')).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Nothing is known any more of these steps') as unknown,
    });
  });

  test('a wrong range and an unknown job are refused', async () => {
    const get = async (path: string): Promise<number> => (await fetch(`${system.url}/api/v1/jobs/${path}`)).status;
    expect(await get(`${jobId}/timeline?from=5&to=4`)).toBe(400);
    expect(await get(`${jobId}/timeline`)).toBe(400);
    expect(await get('nobody/timeline?from=0&to=1')).toBe(404);
  });
});
