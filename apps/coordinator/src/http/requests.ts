// What requests may say: query parameters, headers, bodies; each checked once, here.
// Refuses to check job specs: libs/model does.
import { StandardSchemaValidationPipe } from '@nestjs/common';
import type { Request } from 'express';
import { z } from 'zod';
import { jobStates } from '../jobs/ports.js';
import { HttpProblem } from './problems.js';

const whole = (min: number, max: number) => {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.coerce.number({ error }).int({ error }).min(min, { error }).max(max, { error });
};
const step = whole(0, Number.MAX_SAFE_INTEGER);

export const listQuery = z.strictObject({
  state: z
    .enum(jobStates, { error: `must be one of ${jobStates.join(', ')}` })
    .optional()
    .meta({ description: 'Only jobs in this state' }),
  limit: whole(1, 200).default(50).meta({ description: 'Jobs per page' }),
  cursor: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be the nextCursor of another page')
    .optional()
    .meta({ description: 'nextCursor of the page before' }),
});
export type ListQuery = z.infer<typeof listQuery>;

export const metricsQuery = z.strictObject({
  series: z.string().max(10_000).optional().meta({
    description:
      'Comma list of names, such as train/loss,test/top1; all when left out. One without points gives an empty list',
  }),
  maxPoints: whole(2, 10_000).default(2000).meta({ description: 'Points per series; extremes are kept' }),
});
export type MetricsQuery = z.infer<typeof metricsQuery>;

export const ledgerQuery = z.strictObject({
  from: step.optional().meta({ description: 'First step' }),
  to: step.optional().meta({ description: 'Last step' }),
});
export type LedgerQuery = z.infer<typeof ledgerQuery>;

export const timelineQuery = z.strictObject({
  from: step.meta({ description: 'First step' }),
  to: step.meta({ description: 'Last step' }),
});
export type TimelineQuery = z.infer<typeof timelineQuery>;

export const resumeQuery = z.strictObject({
  repin: z.enum(['true', 'false'], { error: 'must be true or false' }).default('false').meta({
    description:
      'true: pin the job anew, to the numerics class with most workers; what was committed since the checkpoint is taken back',
  }),
});
export type ResumeQuery = z.infer<typeof resumeQuery>;

/** Checks each parameter that carries a schema; answers 400 with an error per parameter. */
export function requestValidation(): StandardSchemaValidationPipe {
  return new StandardSchemaValidationPipe({
    exceptionFactory: (issues) => {
      const errors = issues.map(({ path = [], message }) => ({
        path: path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
        message,
      }));
      return new HttpProblem('invalid-request', 'A parameter is wrong.', { errors });
    },
  });
}

/**
 * The parsed JSON body.
 * @throws HttpProblem 400 without a body, 415 with one that is not called JSON
 */
export function jsonBody(request: Request): unknown {
  const body = request.body as unknown;
  if (body !== undefined) return body;
  const { 'transfer-encoding': encoding, 'content-length': length = '0' } = request.headers;
  if (encoding === undefined && Number(length) === 0) {
    throw new HttpProblem('invalid-request', 'The request has no body; send the job spec as JSON.');
  }
  throw new HttpProblem('unsupported-media-type', 'Send the job spec as JSON, with Content-Type: application/json.');
}

/** @throws HttpProblem 400 where it is empty, too long or not of visible characters */
export function idempotencyKey(header: string | undefined): string | undefined {
  if (header === undefined || /^[\x21-\x7e]{1,200}$/.test(header)) return header;
  throw new HttpProblem('invalid-request', 'Idempotency-Key must be 1 to 200 visible ASCII characters.');
}

/** @throws HttpProblem 404: a step that is no number names nothing */
export function stepNumber(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new HttpProblem('not-found', 'A checkpoint is named by its step, a whole number.');
}
