// The ledger's records and their form on disk: one line each, with length, CRC32C and the hash of the line before.
// Pure: refuses to know files. Text, so that a person with `less` can read what a job did.
import { createHash } from 'node:crypto';
import { crc32c } from '#proto/crc32c.js';
import { z } from 'zod';

const taskSchema = z.strictObject({
  task: z.int().nonnegative(),
  samples: z.int().positive(),
  worker: z.string(),
  attempt: z.int().positive(),
  seconds: z.number(),
  /** CRC32C over the contribution's block checksums, in block order. */
  checksum: z.int().nonnegative(),
  /** Worker that came to the same bits, where one was asked to. */
  provedBy: z.string().nullable(),
});

const refusedSchema = z.strictObject({
  task: z.int().nonnegative(),
  worker: z.string(),
  attempt: z.int().nonnegative(),
  reason: z.string(),
});

const stepSchema = z.strictObject({
  kind: z.literal('step'),
  step: z.int().nonnegative(),
  /** Version that the step made: step + 1. */
  version: z.int().positive(),
  lineage: z.int().nonnegative(),
  round: z.int().nonnegative(),
  epoch: z.int().nonnegative(),
  /** Positions [first, first + samples) of the epoch's order. */
  first: z.int().nonnegative(),
  samples: z.int().nonnegative(),
  /** SHA-256 over the tasks' own hashes of the sample ids that they consumed, in task order. */
  sampleIdsSha256: z.string(),
  /** Sample ids that were left out because they make the gradient not finite. */
  excluded: z.array(z.int().nonnegative()),
  /** The shards that they make up. */
  excludedShards: z.array(z.int().nonnegative()),
  tasks: z.array(taskSchema),
  refused: z.array(refusedSchema),
  /** Mean loss over the mini-batch, nats. */
  loss: z.number(),
  learningRate: z.number(),
  /** CRC32C over the new version's block checksums, in block order. */
  parametersChecksum: z.int().nonnegative(),
  committedAt: z.string(),
});

const rollbackSchema = z.strictObject({
  kind: z.literal('rollback'),
  /** Records of later versions no longer count. */
  toVersion: z.int().nonnegative(),
  reason: z.string(),
  committedAt: z.string(),
});

export const ledgerRecordSchema = z.discriminatedUnion('kind', [stepSchema, rollbackSchema]);
export type StepRecord = z.infer<typeof stepSchema>;
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;

/** What the first record names as the hash of the one before. */
export const ledgerGenesis = '0'.repeat(64);

/** Encodes a record as a line: `<length> <crc32c> <previous hash> <json>\n`, numbers as 8 hexadecimal digits. */
export function encodeLedgerLine(record: LedgerRecord, previous: string): { line: Buffer; hash: string } {
  const body = Buffer.from(`${previous} ${JSON.stringify(record)}`);
  const head = `${hex8(body.length)} ${hex8(crc32c(body))} `;
  return { line: Buffer.concat([Buffer.from(head), body, Buffer.from('\n')]), hash: hashOf(body) };
}

export type LedgerLine =
  | { readonly kind: 'record'; readonly record: LedgerRecord; readonly hash: string; readonly end: number }
  /** The bytes end within a line: more are needed or, at the end of the file, an append was interrupted. */
  | { readonly kind: 'torn' }
  | { readonly kind: 'damaged'; readonly problem: string };

/** How much of a record is checked: every field, or only what tells it apart and is gone through. */
export type RecordCheck = 'fields' | 'outline';

const headLength = 18;
const newline = 0x0a;

/**
 * Reads the line that starts at `offset`.
 * @param previous hash of the line that it must follow; any where left out
 * @param check the outline is enough for lines that are shown to be what Lockstep wrote, and a third of the work
 */
export function decodeLedgerLine(
  bytes: Buffer,
  offset: number,
  previous?: string,
  check: RecordCheck = 'fields',
): LedgerLine {
  const start = offset + headLength;
  if (start > bytes.length) return { kind: 'torn' };
  const match = /^([0-9a-f]{8}) ([0-9a-f]{8}) $/.exec(bytes.toString('latin1', offset, start));
  if (match === null) return damaged('has no length and checksum');
  const end = start + Number.parseInt(match[1]!, 16);
  if (end + 1 > bytes.length) {
    // JSON has its newlines escaped: where one comes before the end, the length is wrong, and what follows is not a torn tail.
    return bytes.includes(newline, start) ? damaged('has a wrong length') : { kind: 'torn' };
  }
  if (bytes[end] !== newline) return damaged('has a wrong length');
  const body = bytes.subarray(start, end);
  if (crc32c(body) !== Number.parseInt(match[2]!, 16)) return damaged('does not match its checksum');
  const text = body.toString('utf8');
  if (previous !== undefined && text.slice(0, 64) !== previous) return damaged('does not follow the record before it');
  const record = recordIn(text.slice(65), check);
  if (record === undefined) return damaged('is not a ledger record');
  return { kind: 'record', record, hash: hashOf(body), end: end + 1 };
}

/**
 * Compares what a re-run step came to with the record of its first run. Who computed it and when may differ.
 * @returns the names of the fields that differ; empty when the step repeated itself.
 */
export function differencesOnReplay(recorded: StepRecord, again: StepRecord): string[] {
  const fields = [
    'step',
    'version',
    'epoch',
    'first',
    'samples',
    'sampleIdsSha256',
    'loss',
    'learningRate',
    'parametersChecksum',
  ] as const;
  const differing: string[] = fields.filter((field) => recorded[field] !== again[field]);
  if (recorded.excludedShards.join() !== again.excludedShards.join()) differing.push('excludedShards');
  const checksums = (record: StepRecord) => record.tasks.map((task) => task.checksum).join();
  if (checksums(recorded) !== checksums(again)) differing.push('tasks.checksum');
  return differing;
}

function damaged(problem: string): LedgerLine {
  return { kind: 'damaged', problem };
}

function recordIn(json: string, check: RecordCheck): LedgerRecord | undefined {
  const value = parseJson(json);
  if (check === 'fields') return ledgerRecordSchema.safeParse(value).data;
  return hasOutline(value) ? value : undefined;
}

function hasOutline(value: unknown): value is LedgerRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, step, toVersion, tasks, excluded, excludedShards } = value as Record<string, unknown>;
  if (kind === 'rollback') return isCount(toVersion);
  return kind === 'step' && isCount(step) && [tasks, excluded, excludedShards].every((list) => Array.isArray(list));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function hashOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
