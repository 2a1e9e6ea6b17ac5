// What one entry of the task queue carries, and the names of tasks in ids, logs and messages.
// Refuses to know the queue, and what a task computes.
import { z } from 'zod';
import { type TaskKey as WireTaskKey, TaskKind as WireTaskKind } from './generated/lockstep/v1/pool.js';

export const taskKinds = ['train', 'evaluate'] as const;

const count = z.int().min(0).max(0xffff_ffff);

export const taskKeySchema = z.strictObject({
  /** Letters, digits, '-' and '_' only: the id goes into queue ids, file names and URLs. */
  jobId: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  /** Goes up when the job restarts from a checkpoint. */
  lineage: count,
  /** Step for training; version that is evaluated for evaluation. */
  step: count,
  /** Goes up each time the step is restarted. */
  round: count,
  /** Index of the task within the step. */
  task: count,
  kind: z.enum(taskKinds),
});

const entrySchema = z.strictObject({
  key: taskKeySchema,
  /** Goes up each time the task is put in the queue. */
  attempt: count,
  /** Version of the parameters that it computes with. */
  version: count,
  epoch: count,
  /**
   * Its shards, in the order in which they are added: each a run of positions in the epoch's order; for evaluation, of
   * indices in the test set, and then together one run.
   */
  shards: z.array(z.strictObject({ first: count, samples: z.int().min(1) })).min(1),
  /** Samples of the whole mini-batch, by which each gradient is scaled; for evaluation, those of the task. */
  miniBatchSamples: z.int().min(1),
});

export const taskEntrySchema = entrySchema.refine(({ key, shards }) => key.kind === 'train' || isOneRun(shards), {
  path: ['shards'],
  error: 'of an evaluation must follow each other',
});

function isOneRun(shards: TaskEntry['shards']): boolean {
  return shards.every(({ first }, index) => {
    const before = shards[index - 1];
    return before === undefined || first === before.first + before.samples;
  });
}

/** Names one task of one restart of one step. */
export type TaskKey = Readonly<z.infer<typeof taskKeySchema>>;
export type TaskEntry = Readonly<Omit<z.infer<typeof entrySchema>, 'key'>> & { readonly key: TaskKey };

/** Samples of a task: those of its shards. */
export function samplesOf(entry: Pick<TaskEntry, 'shards'>): number {
  return entry.shards.reduce((sum, shard) => sum + shard.samples, 0);
}

/** Id of the queue entry, such as `train-JOB-0-12-0-1-a3`: unique per attempt, without colons, which BullMQ forbids. */
export function entryId(key: TaskKey, attempt: number): string {
  return `${taskId(key)}-a${attempt}`;
}

/** The key as one string, for maps. */
export function taskId(key: TaskKey): string {
  return `${key.kind}-${key.jobId}-${key.lineage}-${key.step}-${key.round}-${key.task}`;
}

/** For people, such as `train task 1 of step 12 of job J`; lineage and round only when they are not the first. */
export function taskName(key: TaskKey): string {
  const what = key.kind === 'train' ? `step ${key.step}` : `version ${key.step}`;
  const round = key.round > 0 ? `, round ${key.round}` : '';
  const lineage = key.lineage > 0 ? `, lineage ${key.lineage}` : '';
  return `${key.kind} task ${key.task} of ${what} of job ${key.jobId}${round}${lineage}`;
}

const wireKinds = { train: WireTaskKind.TRAIN, evaluate: WireTaskKind.EVALUATE } as const;

/** The key as it goes over gRPC. */
export function toWireKey(key: TaskKey): WireTaskKey {
  const { jobId, lineage, step, round, task } = key;
  return { jobId, lineage, step, round, task, kind: wireKinds[key.kind] };
}

/** A key that came over gRPC; undefined when it is absent, of an unknown kind or with a job id that cannot be. */
export function fromWireKey(key: WireTaskKey | undefined): TaskKey | undefined {
  const kind = taskKinds.find((candidate) => wireKinds[candidate] === key?.kind);
  if (key === undefined || kind === undefined) return undefined;
  const { jobId, lineage, step, round, task } = key;
  return taskKeySchema.safeParse({ jobId, lineage, step, round, task, kind }).data;
}
