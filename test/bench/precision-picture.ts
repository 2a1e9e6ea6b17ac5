// Draws curves as SVG: panels side by side, a line per curve, axes with round numbers. Refuses to know what they mean.

export interface Curve {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Panel {
  readonly title: string;
  readonly curves: readonly Curve[];
}

const width = 460;
const height = 300;
const margin = { left: 52, right: 12, top: 34, bottom: 34 };
const colours = ['#0f766e', '#c2410c'];
const ticks = 5;

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

function drawPanel({ title, curves }: Panel): string {
  const all = curves.flatMap(({ points }) => points);
  const [right, low, high] = [
    Math.max(1, ...all.map(([x]) => x)),
    Math.min(...all.map(([, y]) => y)),
    Math.max(...all.map(([, y]) => y)),
  ];
  const range = high - low || 1;
  const at = (x: number, y: number): [number, number] => [
    margin.left + (x / right) * (width - margin.left - margin.right),
    height - margin.bottom - ((y - low) / range) * (height - margin.top - margin.bottom),
  ];
  const grid = Array.from({ length: ticks }, (_, index) => {
    const y = low + (range * index) / (ticks - 1);
    const [left, top] = at(0, y);
    return (
      `<line x1="${left}" x2="${width - margin.right}" y1="${top.toFixed(1)}" y2="${top.toFixed(1)}" stroke="#dde3df"/>` +
      `<text x="${left - 6}" y="${(top + 4).toFixed(1)}" text-anchor="end" fill="#56625c">${y.toPrecision(2)}</text>`
    );
  });
  const lines = curves.map(({ name, points }, index) => {
    const path = points
      .map(([x, y]) =>
        at(x, y)
          .map((value) => value.toFixed(1))
          .join(' '),
      )
      .join(' L ');
    const colour = colours[index % colours.length];
    const [x, y] = [width - margin.right - 150 + 80 * index, margin.top - 8];
    return (
      `<path d="M ${path}" fill="none" stroke="${colour}" stroke-width="1.8" stroke-opacity="0.85"/>` +
      `<text x="${x}" y="${y}" fill="${colour}">${name}</text>`
    );
  });
  const [, bottom] = at(0, low);
  return [
    `<text x="${margin.left}" y="${margin.top - 8}" font-weight="bold" fill="#17201c">${title}</text>`,
    ...grid,
    ...lines,
    `<text x="${width - margin.right}" y="${bottom + 20}" text-anchor="end" fill="#56625c">step ${right}</text>`,
  ].join('');
}
