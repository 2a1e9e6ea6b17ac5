// The form of every benchmark's answer on standard output: a title, a Markdown table, notes.
// Refuses to know what was measured, on which machine (machine.ts) and where the answer is kept (main.ts).

export interface Table {
  /** One line: what was measured. */
  readonly title: string;
  readonly columns: readonly string[];
  /** Each as long as `columns`. */
  readonly rows: readonly (readonly string[])[];
  /** A sentence each: what a reader must know to judge the numbers. */
  readonly notes?: readonly string[];
}

/** Prints the table with columns padded, so that it reads in a terminal too. Numbers are set to the right. */
export function printTable({ title, columns, rows, notes = [] }: Table): void {
  const widths = columns.map((name, index) => Math.max(3, name.length, ...rows.map((row) => row[index]!.length)));
  const right = columns.map((_, index) => index > 0 && rows.every((row) => /^[\d–]/.test(row[index]!)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, index) => (right[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!))).join(' | ')} |`;
  const rule = widths.map((width, index) => (right[index] ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  const text = [`**${title}**`, '', line(columns), line(rule), ...rows.map(line), ''];
  for (const note of notes) text.push(note, '');
  process.stdout.write(text.join('\n'));
}

/** What is being done, for whoever waits: on standard error, so that it is no part of the answer. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The value below which `share` of the values lie; 0.5 gives the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** 1234.5 with 0 digits: "1,235". */
export function formatted(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
