// Where commands write: data to standard output, everything else to standard error.
// Refuses to know what is written.

/** Characters that a line on standard output may have; undefined where no terminal reads it. */
export function outputWidth(): number | undefined {
  return process.stdout.isTTY ? process.stdout.columns : undefined;
}

export function printLines(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** To the user, beside the data. */
export function tell(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
