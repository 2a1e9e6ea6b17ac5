import { describe, expect, it } from 'vitest';
import { type Column, renderFields, renderTable } from './table.js';

const columns: readonly Column[] = [{ title: 'ID' }, { title: 'NAME', shrinkTo: 6 }, { title: 'STEP', align: 'right' }];

describe('renderTable', () => {
  it('aligns columns and leaves no blanks at the ends of lines', () => {
    expect(
      renderTable(
        columns,
        [
          ['1', 'a', '7'],
          ['22', 'bcd', '1,234'],
        ],
        undefined,
      ),
    ).toEqual(['ID  NAME   STEP', '1   a         7', '22  bcd   1,234']);
    expect(renderTable([{ title: 'A' }, { title: 'LONG' }], [['x', '']], undefined)[1]).toBe('x');
  });

  it('cuts only columns that may be cut, to the width', () => {
    const lines = renderTable(columns, [['1', 'a-rather-long-name', '7']], 18);
    expect(lines).toEqual(['ID  NAME      STEP', '1   a-rathe…     7']);
    expect(renderTable(columns, [['1', 'a-rather-long-name', '7']], 5)[1]).toBe('1   a-rat…     7');
  });

  it('lets no control character of a name reach the terminal', () => {
    expect(renderTable([{ title: 'N' }], [['a\u001b[2Jb\nc']], undefined)[1]).toBe('a [2Jb c');
  });
});

describe('renderFields', () => {
  it('indents the lines of a long value under its first', () => {
    expect(
      renderFields([
        ['a', '1'],
        ['spec', 'x: 1\ny: 2'],
      ]),
    ).toEqual(['a     1', 'spec  x: 1', '      y: 2']);
  });
});
