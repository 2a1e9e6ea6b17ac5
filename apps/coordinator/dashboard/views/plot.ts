// The only file that speaks to uPlot: axes, colours from the style sheet, zoom that survives new points.
// Refuses to know what the lines mean.
import uPlot from 'uplot';
import { formatCount } from '../state/format.js';

export interface PlotLine {
  /** Names the custom property `--line-<color>`. */
  readonly color: string;
  readonly faint: boolean;
  readonly dots: boolean;
}

export interface PlotOptions {
  readonly lines: readonly PlotLine[];
  readonly tick: (value: number) => string;
  readonly fromZero: boolean;
  readonly data: uPlot.AlignedData;
  /** The step under the cursor, undefined when it has left. */
  readonly onHover: (step: number | undefined) => void;
}

/** All charts of a page show their cursor at the same step. */
const CURSOR_GROUP = 'lockstep';
const FAINT = 0.28;

export function createPlot(
  host: HTMLElement,
  options: PlotOptions,
): { instance: uPlot; update: (data: uPlot.AlignedData) => void } {
  const style = getComputedStyle(host);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const axis: uPlot.Axis = {
    stroke: color('--muted'),
    font,
    grid: { stroke: color('--line'), width: 1 },
    ticks: { show: false },
    gap: 6,
  };
  const instance = new uPlot(
    {
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [8, 12, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: CURSOR_GROUP, scales: ['x', null] },
        y: false,
        points: { show: false },
        drag: { x: true, y: false, dist: 8 },
      },
      scales: {
        x: { time: false, range: (_, from, to) => wideEnough(from, to) },
        y: { range: (_, low, high) => padded(low, high, options.fromZero) },
      },
      axes: [
        {
          ...axis,
          size: 24,
          space: 70,
          values: (_, splits) => splits.map((at) => (Number.isInteger(at) ? formatCount(at) : '')),
        },
        { ...axis, size: axisWidth, space: 34, values: (_, splits) => splits.map(options.tick) },
      ],
      series: [{}, ...options.lines.map((line) => plotSeries(line, color(`--line-${line.color}`), color('--surface')))],
      hooks: {
        setCursor: [
          (self) => {
            const at = self.cursor.idx;
            options.onHover(at === null || at === undefined ? undefined : self.data[0][at]);
          },
        ],
      },
    },
    options.data,
    host,
  );
  return {
    instance,
    update: (data) => {
      const { min, max } = instance.scales['x']!;
      const [from, to] = wideEnough(instance.data[0][0], instance.data[0].at(-1));
      // Without numbers the first drawing is still to come.
      const zoomed = typeof min === 'number' && typeof max === 'number' && (min !== from || max !== to);
      instance.setData(data, !zoomed);
      if (zoomed) {
        instance.setScale('x', { min, max });
      }
    },
  };
}

function plotSeries(line: PlotLine, stroke: string, surface: string): uPlot.Series {
  return {
    stroke,
    alpha: line.faint ? FAINT : 1,
    width: line.faint ? 1 : 2,
    spanGaps: true,
    points: line.dots ? { show: true, size: 6, width: 1.5, fill: surface, stroke } : { show: false },
  };
}

/** All steps; of one point or none still a scale with a width. */
function wideEnough(from: number | null | undefined, to: number | null | undefined): [number, number] {
  const first = from ?? 0;
  return to === null || to === undefined || to === first ? [first, first + 1] : [first, to];
}

/** Room above and below, and never a scale of no height. */
function padded(low: number | null, high: number | null, fromZero: boolean): [number, number] {
  if (low === null || high === null) {
    return [0, 1];
  }
  const bottom = fromZero ? Math.min(0, low) : low;
  const room = (high - bottom) * 0.06 || Math.abs(high) * 0.1 || 1;
  return [fromZero && low >= 0 ? 0 : bottom - room, high + room];
}

/** As wide as the longest label. */
function axisWidth(self: uPlot, values: string[] | null): number {
  if (values === null || values.length === 0) {
    return 44;
  }
  self.ctx.save();
  self.ctx.font = self.axes[1]?.font?.[0] ?? '11px sans-serif';
  const widest = Math.max(...values.map((value) => self.ctx.measureText(value).width));
  self.ctx.restore();
  return Math.ceil(widest / devicePixelRatio) + 14;
}
