// Audits a job's ledger file, here or on a thread of its own. Refuses to know what makes it clean (audit.ts).
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { AuditReport } from '../jobs/ports.js';
import { audit } from './audit.js';
import { LedgerReader } from './ledger-reader.js';
import { planStep } from './step-plan.js';

export interface LedgerInQuestion {
  readonly path: string;
  /** The version that the job has reached. */
  readonly version: number;
  readonly training: Parameters<typeof planStep>[0];
  /** Samples of an epoch. */
  readonly trainCount: number;
}

/** The question as it was asked: a job that goes on, or goes back, changes nothing in the answer. */
export interface LedgerAsOf extends LedgerInQuestion {
  /** Length of the file when the version was looked up. */
  readonly bytes: number;
}

/** Blocks for seconds where the ledger is long. */
export function auditFile({ path, bytes, version, training, trainCount }: LedgerAsOf): AuditReport {
  const reader = new LedgerReader(path, 'fields', bytes);
  const expected = (step: number, excluded?: readonly number[]) => planStep(training, trainCount, step, excluded);
  return audit(reader.records(), version, expected, reader.problems);
}

/** Resolves when the thread before is done: one at a time, so that many who ask do not take all cores from the training. */
let turn: Promise<unknown> = Promise.resolve();

/** `auditFile` of the file as it is now, on a thread of its own, after those that were asked for before. */
export function auditOnThread(question: LedgerInQuestion): Promise<AuditReport> {
  const bytes = statSync(question.path, { throwIfNoEntry: false })?.size ?? 0;
  const report = turn.then(() => runThread({ ...question, bytes }));
  turn = report.catch(() => undefined);
  return report;
}

async function runThread(workerData: LedgerAsOf): Promise<AuditReport> {
  const thread = new Worker(new URL('./audit-thread.js', import.meta.url), { workerData, name: 'audit' });
  // A coordinator that stops does not wait for it.
  thread.unref();
  try {
    const [report] = (await once(thread, 'message')) as [AuditReport];
    return report;
  } finally {
    await thread.terminate();
  }
}
