// Draws curves as SVG: panels side by side, a line per curve, axes with round numbers. Refuses to know what they mean.

export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Panel {
  /** With the unit of what is drawn. */
  readonly title: string;
  /** What the horizontal axis counts. */
  readonly along: string;
  readonly curves: readonly Curve[];
}

const width = 460;
const height = 320;
const margin = { left: 48, right: 16, top: 56, bottom: 44 };
/** The second one is drawn over the first, with gaps through which that one shows. */
const styles = [
  { colour: '#0f766e', line: 'stroke-width="3.5" stroke-opacity="0.45"' },
  { colour: '#b4380b', line: 'stroke-width="1.4" stroke-dasharray="5 3"' },
] as const;
const ticksWanted = 5;
/** Curves of so few points show each of them. */
const dotted = 25;

export function drawCurves(panels: readonly Panel[]): string {
  const total = width * panels.length;
  const body = panels.map((panel, index) => `<g transform="translate(${index * width} 0)">${drawPanel(panel)}</g>`);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${total} ${height}" width="${total}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${total}" height="${height}" fill="#ffffff"/>`,
    ...body,
    '</svg>\n',
  ].join('\n');
}

function drawPanel({ title, along, curves }: Panel): string {
  const all = curves.flatMap(({ points }) => points);
  const [xs, ys] = [roundTicks([0, ...all.map(([x]) => x)]), roundTicks(all.map(([, y]) => y))];
  const right = Math.max(...all.map(([x]) => x), 1);
  const [low, high] = [ys[0]!, ys.at(-1)!];
  const at = (x: number, y: number): [left: string, top: string] => [
    (margin.left + (x / right) * (width - margin.left - margin.right)).toFixed(1),
    (height - margin.bottom - ((y - low) / (high - low)) * (height - margin.top - margin.bottom)).toFixed(1),
  ];
  const rows = ys.map((y) => {
    const [left, top] = at(0, y);
    return (
      `<line x1="${left}" x2="${width - margin.right}" y1="${top}" y2="${top}" stroke="#dde3df"/>` +
      label(Number(left) - 6, Number(top) + 4, 'end', written(y))
    );
  });
  const columns = xs
    .filter((x) => x <= right)
    .map((x) => label(Number(at(x, low)[0]), height - margin.bottom + 18, 'middle', written(x)));
  const lines = curves.map(({ name, points }, index) => {
    const { colour, line } = styles[index % styles.length]!;
    const places = points.map(([x, y]) => at(x, y));
    const dots = points.length > dotted ? [] : places.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="2.5"/>`);
    const [x, y] = [margin.left + 110 * index, margin.top - 16];
    return (
      `<g fill="none" stroke="${colour}"><path d="M ${places.map((place) => place.join(' ')).join(' L ')}" ${line}/>${dots.join('')}` +
      `<line x1="${x}" x2="${x + 24}" y1="${y - 4}" y2="${y - 4}" ${line}/></g>` +
      `<text x="${x + 30}" y="${y}" fill="${colour}">${name}</text>`
    );
  });
  return [
    `<text x="${margin.left}" y="${margin.top - 36}" font-weight="bold" fill="#17201c">${title}</text>`,
    ...rows,
    ...columns,
    ...lines,
    label(width - margin.right, height - 8, 'end', along),
  ].join('');
}

function label(x: number, y: number, anchor: string, text: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="#56625c">${text}</text>`;
}

/** Multiples of 1, 2 or 5 times a power of ten from at or below the smallest value to at or above the largest. */
function roundTicks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const rough = (high - low || Math.abs(high) || 1) / ticksWanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (rough > 5 * power ? 10 : rough > 2 * power ? 5 : rough > power ? 2 : 1);
  const [first, last] = [Math.floor(low / step), Math.max(Math.floor(low / step) + 1, Math.ceil(high / step))];
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * step);
}

/** Without the digits that floating point adds. */
function written(value: number): string {
  return Number(value.toPrecision(6)).toLocaleString('en-US');
}
