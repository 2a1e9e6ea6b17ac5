// Jobs on disk: a folder each, with job.json written beside and renamed. Owns the folder layout; refuses to know
// what states mean and what trains.
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { jobSpecSchema } from '#model/job-spec.js';
import { kernelTableSchema } from '#model/kernel-table.js';
import { z } from 'zod';
import { jobStates } from './ports.js';

const evaluationSchema = z.strictObject({
  step: z.number(),
  loss: z.number().nullable(),
  top1: z.number(),
  top5: z.number(),
});

const recordSchema = z.strictObject({
  id: z.string(),
  spec: jobSpecSchema,
  state: z.enum(jobStates),
  /** Given with the request that made the job. */
  idempotencyKey: z.string().nullable(),
  /** Number of times that training started. */
  lineage: z.int().nonnegative(),
  /** Class that the job is pinned to, once it is. */
  classId: z.string().nullable(),
  numericsClass: z.string().nullable(),
  /** What people should know about that class. */
  note: z.string().nullable(),
  /** Which kernels serve its 1x1 convolutions, as tried in that class; null: the fixed rule. */
  kernels: kernelTableSchema.nullable().default(null),
  /** CRC32C of the probe's contribution by the first worker of that class. */
  probeChecksum: z.int().nonnegative().nullable(),
  /** The class has changed since the newest checkpoint: steps after it need not repeat themselves. */
  rollback: z.boolean(),
  /** Training images of the dataset; 0 until its files are indexed. */
  trainCount: z.int().nonnegative(),
  /** Hash of the dataset's index, once it was opened. */
  datasetHash: z.string().nullable().default(null),
  /** Of the images' contents, since an index that the job was run with has one. */
  datasetContentsHash: z.string().nullable().default(null),
  /** Why a paused job does not go on. */
  reason: z.string().nullable(),
  error: z.string().nullable(),
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  /** What was reached when the record was last written; a running job knows better. */
  reached: z.strictObject({
    step: z.number(),
    totalSteps: z.number(),
    epoch: z.number(),
    loss: z.number().nullable(),
    top1: z.number().nullable(),
    test: evaluationSchema.nullable(),
    imagesPerSecond: z.number().nullable(),
    checkpoint: z
      .strictObject({ step: z.number(), path: z.string(), parametersSha256: z.string(), stateSha256: z.string() })
      .nullable(),
  }),
  usefulWorkers: z.int().nonnegative(),
  parameterCount: z.int().nonnegative(),
});
export type JobRecord = z.infer<typeof recordSchema>;

export class JobStore {
  readonly #folder: string;

  constructor(readonly dataDir: string) {
    this.#folder = join(dataDir, 'jobs');
    mkdirSync(this.#folder, { recursive: true });
  }

  /** Ids sort by time of creation. */
  newId(): string {
    return `j${Date.now().toString(36)}${randomBytes(2).toString('hex')}`;
  }

  folderOf(id: string): string {
    return join(this.#folder, id);
  }

  ledgerOf(id: string): string {
    return join(this.folderOf(id), 'ledger.txt');
  }

  checkpointsOf(id: string): string {
    return join(this.folderOf(id), 'checkpoints');
  }

  metricsOf(id: string): string {
    return join(this.folderOf(id), 'metrics');
  }

  /** Complete or absent. Throws the file system's error where it cannot be written. */
  save(record: JobRecord): void {
    const folder = this.folderOf(record.id);
    mkdirSync(folder, { recursive: true });
    const beside = join(folder, '.job.json.writing');
    const file = openSync(beside, 'w');
    try {
      writeSync(file, `${JSON.stringify(record, undefined, 2)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(beside, join(folder, 'job.json'));
  }

  /** All jobs in order of creation; `problems` names what could not be read, and is left as it is. */
  load(): { records: JobRecord[]; problems: string[] } {
    const records: JobRecord[] = [];
    const problems: string[] = [];
    for (const id of readdirSync(this.#folder).toSorted()) {
      const path = join(this.#folder, id, 'job.json');
      try {
        records.push(recordSchema.parse(JSON.parse(readFileSync(path, 'utf8'))));
      } catch (error) {
        problems.push(`${path} is not a job that this version can read: ${(error as Error).message.split('\n')[0]}`);
      }
    }
    return { records, problems };
  }

  remove(id: string): void {
    rmSync(this.folderOf(id), { recursive: true, force: true });
  }
}
