// Schemas of the answers, for the OpenAPI document and for tests that check answers against it.
// Refuses to differ from ports.ts: `satisfies` makes the compiler say so.
import { jobSpecInputSchema, jobSpecSchema } from '#model/job-spec.js';
import { z } from 'zod';
import { jobStates } from '../jobs/ports.js';
import type { AuditReport, CheckpointView, JobView, WorkerView } from '../jobs/ports.js';
import type { ChromeTrace } from '../telemetry/chrome-trace.js';
import { problemSchema } from './problems.js';

const time = z.iso.datetime().meta({ description: 'ISO 8601' });
const count = z.int().min(0);
const rate = z.number().min(0);
const share = z.number().min(0).max(1);
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

export const jobSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  state: z.enum(jobStates),
  step: count.meta({ description: 'Committed steps' }),
  totalSteps: count,
  epoch: count,
  version: count.meta({ description: 'Number of the newest parameters' }),
  loss: z.number().nullable().meta({ description: 'Mean training loss of the last committed step, nats' }),
  top1: share.nullable(),
  test: z
    .strictObject({ step: count, loss: z.number(), top1: share, top5: share })
    .nullable()
    .meta({ description: 'Newest evaluation' }),
  imagesPerSecond: rate.nullable(),
  etaSeconds: rate
    .nullable()
    .meta({ description: 'Null until a few steps have been seen, and when it is not running' }),
  workers: z.array(z.string()),
  parametersSha256: sha256.nullable().meta({ description: "Of the newest checkpoint's manifest" }),
  stateSha256: sha256.nullable().meta({ description: "Of the newest checkpoint's manifest" }),
  checkpoint: z.strictObject({ step: count, path: z.string() }).nullable(),
  numericsClass: z.string().nullable(),
  kernels: z
    .string()
    .nullable()
    .meta({ description: 'Which kernels serve its 1x1 convolutions, in short; null: the fixed rule' }),
  usefulWorkers: count.meta({ description: 'How many workers can help at once: tasks per step' }),
  parameterCount: count,
  note: z.string().nullable().meta({ description: 'What to know although the job goes on' }),
  reason: z.string().nullable().meta({ description: 'Why the job is not going on' }),
  error: z.string().nullable().meta({ description: 'What made a failed job fail' }),
  spec: jobSpecSchema,
  createdAt: time,
  startedAt: time.nullable(),
  endedAt: time.nullable(),
}) satisfies z.ZodType<JobView>;

export const workerSchema = z.strictObject({
  id: z.string(),
  name: z.string(),
  device: z.string(),
  classId: z.string(),
  numericsClass: z.string(),
  state: z.enum(['active', 'hung', 'draining']),
  currentTask: z.string().nullable(),
  imagesPerSecond: rate.nullable(),
  stepSecondsP50: rate.nullable(),
  stepSecondsP95: rate.nullable(),
  accepted: count,
  refused: z.record(z.string(), count).meta({ description: 'Counts by reason' }),
  heartbeatAgeSeconds: rate,
  residentBytes: count,
  tensors: count,
  images: z.strictObject({ images: count, seconds: rate, cacheHits: count, starvedSeconds: rate }).meta({
    description: 'Image files since the worker started; starvedSeconds: how long computing waited for them alone',
  }),
  connectedAt: time,
}) satisfies z.ZodType<WorkerView>;

const sampleCounts = { expected: count, committed: count, excluded: count, duplicated: count, missing: count };

export const auditSchema = z.strictObject({
  clean: z.boolean(),
  version: count,
  ...sampleCounts,
  epochs: z.array(z.strictObject({ epoch: count, ...sampleCounts })),
  problems: z.array(z.string()),
}) satisfies z.ZodType<AuditReport>;

export const checkpointSchema = z.strictObject({
  step: count,
  epoch: count,
  path: z.string(),
  parametersSha256: sha256,
  stateSha256: sha256,
  createdAt: time,
  files: z.array(z.strictObject({ name: z.string(), bytes: count })),
}) satisfies z.ZodType<CheckpointView>;

export const timelineSchema = z.strictObject({
  displayTimeUnit: z.literal('ms'),
  traceEvents: z
    .array(
      z.strictObject({
        ph: z.enum(['X', 'M']).meta({ description: 'X: a span; M: the name or place of a process or row' }),
        name: z.string(),
        pid: count,
        tid: count,
        cat: z.string().optional(),
        ts: count.optional().meta({ description: 'Microseconds since the first span' }),
        dur: count.optional().meta({ description: 'Microseconds' }),
        args: z.record(z.string(), z.unknown()),
      }),
    )
    .readonly(),
  otherData: z.strictObject({
    jobId: z.string(),
    fromStep: count,
    toStep: count,
    notes: z.array(z.string()).meta({ description: 'What is missing and how exact clocks are' }).readonly(),
  }),
}) satisfies z.ZodType<ChromeTrace>;

const points = z.array(z.tuple([count, z.number()])).meta({ description: '[step, value] in order of steps' });

/** By the names that they have in the OpenAPI document. */
export const components = {
  JobSpecInput: jobSpecInputSchema,
  JobSpec: jobSpecSchema,
  Job: jobSchema,
  JobPage: z.strictObject({ jobs: z.array(jobSchema), nextCursor: z.string().nullable() }),
  SubmittedJob: z.strictObject({ id: z.string(), state: z.enum(jobStates), spec: jobSpecSchema }),
  Metrics: z.strictObject({ series: z.record(z.string(), points) }),
  Audit: auditSchema,
  Timeline: timelineSchema,
  CheckpointList: z.strictObject({ checkpoints: z.array(checkpointSchema) }),
  Worker: workerSchema,
  WorkerList: z.strictObject({ workers: z.array(workerSchema) }),
  Health: z.strictObject({ status: z.string() }),
  Problem: problemSchema,
} as const satisfies Record<string, z.ZodType>;
export type ComponentName = keyof typeof components;
