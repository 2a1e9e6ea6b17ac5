// Tables and blocks of text fitted to a width.
// Refuses to know what the rows are about and whether a terminal is there.

export interface Column {
  readonly title: string;
  /** @default 'left' */
  readonly align?: 'left' | 'right';
  /** May be cut, down to this many characters, when the table is too wide. Other columns never are. */
  readonly shrinkTo?: number;
}

const GAP = '  ';

/** Characters that a terminal shows. Wide glyphs (CJK, emoji) do occur in names; they count as one, which only misaligns a row. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}

function cut(text: string, width: number): string {
  const characters = Array.from(text);
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

/** Control characters in names could move the cursor or colour the terminal. */
function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

/**
 * Lines of a table with a heading; no line ends in blanks. `width` undefined: nothing is cut (a file or a pipe reads it).
 * Columns with `shrinkTo` give way, the widest first, until the table fits or none can.
 */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): string[] {
  const cells = [columns.map((column) => column.title), ...rows.map((row) => row.map(harmless))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => lengthOf(row[index] ?? ''))));
  shrink(columns, widths, width);
  return cells.map((row) =>
    columns
      .map((column, index) => {
        const text = cut(row[index] ?? '', widths[index]!);
        const padding = ' '.repeat(widths[index]! - lengthOf(text));
        return column.align === 'right' ? padding + text : text + padding;
      })
      .join(GAP)
      .trimEnd(),
  );
}

function shrink(columns: readonly Column[], widths: number[], width: number | undefined): void {
  if (width === undefined) {
    return;
  }
  let excess = widths.reduce((sum, each) => sum + each, 0) + GAP.length * (widths.length - 1) - width;
  while (excess > 0) {
    const widest = columns
      .map((column, index) => ({ index, spare: widths[index]! - (column.shrinkTo ?? Number.POSITIVE_INFINITY) }))
      .filter(({ spare }) => spare > 0)
      .sort((a, b) => widths[b.index]! - widths[a.index]!)[0];
    if (widest === undefined) {
      return;
    }
    widths[widest.index]! -= 1;
    excess -= 1;
  }
}

/** `name   value` lines, names padded to one column; a value of several lines is indented under the first. */
export function renderFields(fields: readonly (readonly [name: string, value: string])[]): string[] {
  const nameWidth = Math.max(0, ...fields.map(([name]) => lengthOf(name)));
  return fields.flatMap(([name, value]) =>
    value
      .split('\n')
      .map((line, index) => `${(index === 0 ? name : '').padEnd(nameWidth)}${GAP}${harmless(line)}`.trimEnd()),
  );
}
