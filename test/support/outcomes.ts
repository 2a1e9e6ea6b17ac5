// What tests say about the end of a job: its hashes, who took part, a clean ledger.
// Refuses to run anything.
import { expect } from 'vitest';
import type { TestSystem } from './system.js';

export interface Hashes {
  readonly parametersSha256: string | null;
  readonly stateSha256: string | null;
}

/** Only the hashes, so that two outcomes compare as one. Fails where one is missing. */
export function hashesOf({ parametersSha256, stateSha256 }: Hashes): Hashes {
  expect(parametersSha256).toMatch(/^[0-9a-f]{64}$/);
  expect(stateSha256).toMatch(/^[0-9a-f]{64}$/);
  return { parametersSha256, stateSha256 };
}

/** Names of the workers whose contributions were committed, sorted. */
export async function contributors({ api }: TestSystem, id: string): Promise<string[]> {
  const entries = await api.ledger(id);
  const names = entries.flatMap(({ tasks }) => (tasks as { worker: string }[]).map(({ worker }) => worker));
  return [...new Set(names)].sort();
}

/** The audit finds each of the samples that the job's steps must consume exactly once. */
export async function expectCleanAudit({ api }: TestSystem, id: string, version: number): Promise<void> {
  const report = await api.audit(id);
  expect(report).toMatchObject({ clean: true, version, duplicated: 0, missing: 0, excluded: 0, problems: [] });
  expect(report.committed).toBe(report.expected);
  expect(report.expected).toBeGreaterThan(0);
}
