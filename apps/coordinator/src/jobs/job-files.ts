// Reads what a job has left in its folder, for people who ask. Refuses to know whether the job still runs.
import { MetricsStore } from '../telemetry/metrics-store.js';
import type { LedgerRecord } from '../training/ledger-format.js';
import { streamLedger } from '../training/ledger-reader.js';
import type { SeriesPoints } from './ports.js';

/** The points of a job that does not run. All series when `series` is undefined. */
export function storedMetrics(
  folder: string,
  series: readonly string[] | undefined,
  maxPoints: number,
): Record<string, SeriesPoints> {
  const store = MetricsStore.open(folder, { flushEveryMs: 0 });
  try {
    return store.read(series, maxPoints);
  } finally {
    store.close();
  }
}

/** The ledger's records of steps [from, to], and those that are of no step. */
export async function* recordsBetween(path: string, from: number, to: number): AsyncGenerator<LedgerRecord> {
  for await (const record of streamLedger(path)) {
    if (record.kind !== 'step' || (record.step >= from && record.step <= to)) yield record;
  }
}
