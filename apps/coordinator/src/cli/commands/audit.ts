// `audit`: what the coordinator reads from a job's ledger, as a table per epoch and a verdict.
// Refuses to know the ledger.
import type { AuditReport } from '../../jobs/ports.js';
import type { Api } from '../api.js';
import type { ClientOptions } from '../client-verbs.js';
import { exitCodes } from '../exit.js';
import { formatCount } from '../format.js';
import { outputWidth, printJson, printLines } from '../output.js';
import { type Column, renderTable } from '../table.js';

const columns: readonly Column[] = [
  { title: 'EPOCH' },
  { title: 'EXPECTED', align: 'right' },
  { title: 'COMMITTED', align: 'right' },
  { title: 'EXCLUDED', align: 'right' },
  { title: 'DUPLICATED', align: 'right' },
  { title: 'MISSING', align: 'right' },
];

/** 0 when clean, else 1. */
export async function audit(api: Api, id: string, options: ClientOptions): Promise<number> {
  const report = await api.audit(id);
  if (options.json === true) {
    printJson(report);
  } else {
    printLines([...auditTable(report, outputWidth()), ...report.problems, verdict(report)]);
  }
  return report.clean ? exitCodes.good : exitCodes.failed;
}

/** A row per epoch, counted from 1 as progress lines do, and one for all. */
export function auditTable(report: AuditReport, width: number | undefined): string[] {
  const row = (name: string, part: Omit<AuditReport['epochs'][number], 'epoch'>): string[] => [
    name,
    ...[part.expected, part.committed, part.excluded, part.duplicated, part.missing].map(formatCount),
  ];
  const rows = report.epochs.map((epoch) => row(String(epoch.epoch + 1), epoch));
  return renderTable(columns, [...rows, row('all', report)], width);
}

export function verdict(report: AuditReport): string {
  const excluded =
    report.excluded === 0
      ? ''
      : `; ${formatCount(report.excluded)} more were left out as not finite, as the job asks for`;
  return report.clean
    ? `clean: each of ${formatCount(report.committed)} samples up to version ${formatCount(report.version)} was committed exactly once${excluded}`
    : `not clean: of ${formatCount(report.expected)} samples up to version ${formatCount(report.version)}, ` +
        `${formatCount(report.missing)} are missing and ${formatCount(report.duplicated)} duplicated${excluded}`;
}
