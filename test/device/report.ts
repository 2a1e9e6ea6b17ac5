// The report of `npm run test:device` as Markdown. Pure.
// Refuses to know how anything was found.
import type { Finding, Rate } from './checks.js';

export interface ReportFacts {
  readonly machine: string;
  readonly devices: readonly string[];
}

export function markdownOf(facts: ReportFacts, findings: readonly Finding[], rates: readonly Rate[]): string {
  const failed = findings.filter(({ ok }) => !ok).length;
  const verdict =
    failed === 0 ? `All ${findings.length} checks passed.` : `${failed} of ${findings.length} checks failed.`;
  return [
    '# Device report',
    '',
    `Device: ${facts.devices.join(', ')}. ${facts.machine}.`,
    '',
    `${verdict} TF_DETERMINISTIC_OPS=1, gradients read 24 layers late; each row ran in processes of its own.`,
    '',
    ...table(
      ['check', 'of', '', 'found'],
      findings.map(({ check, of, ok, detail }) => [check, of, ok ? 'ok' : '**failed**', detail]),
    ),
    '',
    ...table(
      ['images/s', 'of', 'median ms'],
      rates.map(({ of, imagesPerSecond, medianMs }) => [imagesPerSecond.toFixed(1), of, medianMs.toFixed(1)]),
    ),
    '',
  ].join('\n');
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)];
}
