// `tune`: tries settings with the real engine on this machine and recommends the quickest that fit its memory.
// Refuses to know how a process measures (engine-runs.ts) and what is worth trying (candidates.ts).
import { availableParallelism, totalmem } from 'node:os';
import { type JobSpec, resolveJobSpec, SpecError } from '#model/job-spec.js';
import { loadConfig } from '../../config.js';
import { exitCodes, WrongUsage } from '../exit.js';
import { formatCount } from '../format.js';
import { interruption } from '../interruption.js';
import { outputWidth, printJson, printLines, tell } from '../output.js';
import { prepareMachine } from '../prepare.js';
import { specFrom } from '../spec-file.js';
import { type Column, renderTable } from '../table.js';
import {
  best,
  type Measured,
  memoryOf,
  type Setting,
  shardSizes,
  shardsPerTask,
  shares,
  stepRate,
  withSetting,
} from '../tune/candidates.js';
import { runEngine } from '../tune/engine-runs.js';

export interface TuneOptions {
  readonly preset?: string;
  readonly set: readonly string[];
  readonly minutes: number;
  readonly runSeconds: number;
  readonly json?: boolean;
}

interface Skipped extends Setting {
  readonly why: string;
}

/** Part of this machine's memory that may be filled. */
const usableShare = 0.9;

const columns: readonly Column[] = [
  { title: 'WORKERS', align: 'right' },
  { title: 'THREADS', align: 'right' },
  { title: 'SHARD', align: 'right' },
  { title: 'PER TASK', align: 'right' },
  { title: 'TASK', align: 'right' },
  { title: 'IMAGES/S', align: 'right' },
  { title: 'A WORKER', align: 'right' },
  { title: '' },
];

export async function tune(
  file: string | undefined,
  options: TuneOptions,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const spec = resolved(specFrom({ file, preset: options.preset, set: options.set }));
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  try {
    await prepareMachine({
      config: { ...loadConfig(environment), redisUrl: 'none needed' },
      environment,
      signal: stop.signal,
    });
    const session = new Session(spec, options, environment, stop.signal);
    await session.run();
    report(spec, session, options.json === true);
    return exitCodes.good;
  } finally {
    stop.release();
  }
}

function resolved(given: unknown): JobSpec {
  try {
    return resolveJobSpec(given);
  } catch (error) {
    if (error instanceof SpecError) throw new WrongUsage(error.message, { cause: error });
    throw error;
  }
}

/** One tuning: what was measured so far and what was left out. */
class Session {
  readonly measured: Measured[] = [];
  readonly skipped: Skipped[] = [];
  readonly #memory = usableShare * Math.min(totalmem(), process.constrainedMemory() || Infinity);
  readonly #until: number;

  constructor(
    private readonly spec: JobSpec,
    private readonly limits: Pick<TuneOptions, 'minutes' | 'runSeconds'>,
    private readonly environment: NodeJS.ProcessEnv,
    private readonly signal: AbortSignal,
  ) {
    this.#until = performance.now() + limits.minutes * 60_000;
  }

  /** Workers and threads first, as they change no bits; then the size of shards, then shards per task. */
  async run(): Promise<void> {
    const { training } = this.spec;
    const { shardSize, shardsPerTask: perTask } = training;
    for (const share of shares(availableParallelism()))
      await this.#try({ ...share, shardSize, shardsPerTask: perTask });
    const shared = best(this.measured);
    if (shared === undefined) return;
    for (const size of shardSizes(training, shared.workers)) {
      await this.#try({ ...shared, shardSize: size, shardsPerTask: 1 });
    }
    const sized = best(this.measured)!;
    for (const count of shardsPerTask(training, sized)) {
      if (count !== sized.shardsPerTask) await this.#try({ ...sized, shardsPerTask: count });
    }
  }

  async #try({ workers, threads, shardSize, shardsPerTask: perTask }: Setting): Promise<void> {
    const setting = { workers, threads, shardSize, shardsPerTask: perTask };
    const needed = memoryOf(this.spec, setting);
    if (needed > this.#memory) {
      const why = `needs ${gigabytes(needed)} of ${gigabytes(this.#memory)}`;
      this.skipped.push({ ...setting, why });
      return;
    }
    const leftMs = this.#until - performance.now();
    // The first one is measured whatever the time: without a figure there is no advice.
    if (leftMs <= 0 && this.measured.length > 0) {
      this.skipped.push({ ...setting, why: 'the time was over (--minutes)' });
      return;
    }
    tell(`${nameOf(setting)} … (${Math.max(0, leftMs / 1000).toFixed(0)} s left)`);
    const { model } = this.spec;
    const { training } = withSetting(this.spec, setting);
    const run = { model, training, workers, threads, budgetMs: this.limits.runSeconds * 1000 };
    const { taskSeconds, peakBytes } = await runEngine(run, this.environment, this.signal);
    const imagesPerSecond = stepRate(this.spec, setting, taskSeconds);
    this.measured.push({ ...setting, taskSeconds, imagesPerSecond, workerBytes: peakBytes });
  }
}

function report(spec: JobSpec, { measured, skipped }: Session, json: boolean): void {
  const choice = best(measured);
  const { batchSize, precision } = spec.training;
  const about = { architecture: spec.model.architecture, imageSize: spec.model.imageSize, precision, batchSize };
  const recommended = choice && {
    spec: { training: { shardSize: choice.shardSize, shardsPerTask: choice.shardsPerTask } },
    workers: choice.workers,
    threads: choice.threads,
  };
  if (json) return printJson({ ...about, measured, skipped, recommended: recommended ?? null });
  const rows = [
    ...measured.map((row) => [
      ...settingCells(row),
      `${row.taskSeconds.toFixed(row.taskSeconds < 1 ? 3 : 2)} s`,
      row.imagesPerSecond.toFixed(row.imagesPerSecond < 100 ? 1 : 0),
      gigabytes(row.workerBytes),
      row === choice ? '<- best' : '',
    ]),
    ...skipped.map((row) => [...settingCells(row), '–', '–', '–', row.why]),
  ];
  printLines([
    `${about.architecture} at ${about.imageSize} in ${precision}, batches of ${formatCount(batchSize)}`,
    ...renderTable(columns, rows, outputWidth()),
    ...(choice === undefined ? ['No setting fits this machine’s memory: lower training.shardSize.'] : advice(choice)),
  ]);
}

function advice({ workers, threads, shardSize, shardsPerTask: perTask }: Setting): string[] {
  return [
    '',
    `job    {"training": {"shardSize": ${shardSize}, "shardsPerTask": ${perTask}}}`,
    `       --set training.shardSize=${shardSize} --set training.shardsPerTask=${perTask}`,
    `pool   LOCKSTEP_THREADS=${threads} npx lockstep up --workers ${workers}`,
    '',
    'shardSize and shardsPerTask are part of what determines the bits: batch norm sees one shard at a time, and sums follow the',
    'shards. Choose them before a training begins, and with its accuracy in mind: a smaller shard is another training, not only',
    'another speed. Workers change nothing in the result; threads belong to the numerics class.',
  ];
}

function settingCells({ workers, threads, shardSize, shardsPerTask: perTask }: Setting): string[] {
  return [workers, threads, shardSize, perTask].map(String);
}

function nameOf({ workers, threads, shardSize, shardsPerTask: perTask }: Setting): string {
  const many = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`;
  return `${many(workers, 'worker')} with ${many(threads, 'thread')}, tasks of ${perTask} x ${shardSize} images`;
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
