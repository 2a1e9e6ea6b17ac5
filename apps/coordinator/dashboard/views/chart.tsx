// One chart: a title with the values under the cursor (or the newest ones), and a uPlot canvas that follows size and colours.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type uPlot from 'uplot';
import { formatCount } from '../state/format.js';
import { align, smooth, valueAt, type SeriesMap, type SeriesPoints } from '../state/series.js';
import { createPlot, type PlotLine } from './plot.js';

export interface ChartLine {
  readonly series: string;
  readonly label: string;
  readonly color: 'train' | 'test' | 'third';
  /** Draws the points faintly and their running mean strongly. */
  readonly smoothed?: boolean;
  /** Marks each point: for series with few. */
  readonly dots?: boolean;
}

export interface ChartSpec {
  readonly id: string;
  readonly title: string;
  readonly lines: readonly ChartLine[];
  readonly format: (value: number) => string;
  /** The same for the axis, where numbers are round. */
  readonly tick: (value: number) => string;
  readonly fromZero?: boolean;
}

export function Chart({ spec, series }: { spec: ChartSpec; series: SeriesMap }) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<{ instance: uPlot; update: (data: uPlot.AlignedData) => void } | null>(null);
  const hoveredStep = useSignal<number | undefined>(undefined);
  const shown = spec.lines.map((line) => series[line.series] ?? NO_POINTS);
  const smoothed = useMemo(
    () => shown.map((points, at) => (spec.lines[at]!.smoothed === true ? smooth(points) : points)),
    shown,
  );
  const data = useMemo(() => {
    return align(
      spec.lines.flatMap((line, at) => (line.smoothed === true ? [shown[at]!, smoothed[at]!] : [shown[at]!])),
    );
  }, smoothed);
  const newest = useRef(data);
  newest.current = data;

  useEffect(() => {
    const element = host.current;
    if (element === null) {
      return undefined;
    }
    const build = (): void => {
      plot.current?.instance.destroy();
      plot.current = createPlot(element, {
        lines: spec.lines.flatMap(plotLines),
        tick: spec.tick,
        fromZero: spec.fromZero ?? false,
        data: newest.current,
        onHover: (step) => {
          hoveredStep.value = step;
        },
      });
    };
    build();
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', build);
    const size = new ResizeObserver(() => {
      plot.current?.instance.setSize({ width: element.clientWidth, height: element.clientHeight });
    });
    size.observe(element);
    return () => {
      scheme.removeEventListener('change', build);
      size.disconnect();
      plot.current?.instance.destroy();
      plot.current = null;
    };
  }, [spec]);

  useEffect(() => plot.current?.update(data), [data]);

  const step = hoveredStep.value;
  const readings = spec.lines.map((line, at) => ({ line, value: valueAt(smoothed[at]!, step) }));
  return (
    <figure class="chart" data-testid={`chart-${spec.id}`} data-points={data[0].length}>
      <figcaption>
        <span class="chart-title">{spec.title}</span>
        <span class="chart-readings">
          {step !== undefined && <span class="quiet">step {formatCount(step)}</span>}
          {readings.map(({ line, value }) => (
            <span class="reading" key={line.series}>
              <span class={`swatch swatch--${line.color}`} aria-hidden="true" />
              {line.label} <strong>{value === undefined ? '–' : spec.format(value)}</strong>
            </span>
          ))}
        </span>
      </figcaption>
      <div ref={host} class="chart-canvas" role="img" aria-label={summary(spec, shown)} />
      <div class="chart-axis" aria-hidden="true">
        step
      </div>
    </figure>
  );
}

const NO_POINTS: SeriesPoints = [];

function plotLines(line: ChartLine): PlotLine[] {
  const base = { color: line.color, dots: line.dots ?? false };
  return line.smoothed === true
    ? [
        { ...base, faint: true },
        { ...base, faint: false },
      ]
    : [{ ...base, faint: false }];
}

/** The curve in a sentence, for those who cannot see it. */
function summary(spec: ChartSpec, shown: readonly SeriesPoints[]): string {
  const parts = spec.lines.map((line, at) => {
    const points = shown[at]!;
    const first = points[0];
    const last = points.at(-1);
    return first === undefined || last === undefined
      ? `${line.label}: no points yet`
      : `${line.label}: ${spec.format(first[1])} at step ${formatCount(first[0])}, ${spec.format(last[1])} at step ${formatCount(last[0])}`;
  });
  return `${spec.title}. ${parts.join('; ')}`;
}
