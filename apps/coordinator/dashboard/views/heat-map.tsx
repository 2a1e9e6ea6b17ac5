// Depth by step as a picture: a row per layer, from the images at the top to the loss at the bottom, a column per stretch of steps.
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { formatCount } from '../state/format.js';
import { colorOf, heatOf, shareOf, stepOf, type Heat } from '../state/heat.js';
import type { SeriesMap } from '../state/series.js';

const MAX_COLUMNS = 240;

const kinds = [
  { prefix: 'gradient/norm/', label: 'Gradient norm' },
  { prefix: 'update/ratio/', label: 'Update to weight' },
] as const;

/** Nothing for jobs that have no figures per layer. */
export function HeatMap({ series }: { series: SeriesMap }) {
  const kind = useSignal<(typeof kinds)[number]>(kinds[0]);
  const hovered = useSignal<{ row: number; column: number } | null>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const heat = useMemo(() => heatOf(series, kind.value.prefix, MAX_COLUMNS), [series, kind.value]);
  useEffect(() => {
    if (canvas.current !== null && heat !== null) {
      draw(canvas.current, heat);
    }
  }, [heat]);
  if (heat === null) {
    return null;
  }
  const onMove = (event: MouseEvent): void => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const place = (at: number, size: number, cells: number): number =>
      Math.min(cells - 1, Math.max(0, Math.floor((at / size) * cells)));
    hovered.value = {
      row: place(event.clientY - box.top, box.height, heat.layers.length),
      column: place(event.clientX - box.left, box.width, heat.columns),
    };
  };
  return (
    <figure class="chart heat" data-testid="heat-map" data-layers={heat.layers.length} data-columns={heat.columns}>
      <figcaption>
        <span class="chart-title">Layers by step</span>
        <span class="heat-kinds" role="group" aria-label="What the colours show">
          {kinds.map((each) => (
            <button
              type="button"
              class="heat-kind"
              aria-pressed={each === kind.value}
              data-testid={`heat-${each.prefix.split('/')[0]}`}
              onClick={() => (kind.value = each)}
              key={each.prefix}
            >
              {each.label}
            </button>
          ))}
        </span>
        <span class="chart-readings" data-testid="heat-reading">
          {reading(heat, hovered.value)}
        </span>
      </figcaption>
      <div class="heat-frame">
        <span class="heat-end">{heat.layers[0]}</span>
        <canvas
          ref={canvas}
          class="heat-canvas"
          role="img"
          aria-label={summary(kind.value.label, heat)}
          onMouseMove={onMove}
          onMouseLeave={() => (hovered.value = null)}
        />
        <span class="heat-end">{heat.layers.at(-1)}</span>
        <div class="heat-legend">
          <span>step {formatCount(heat.first)}</span>
          <span class="heat-scale">
            {formatNorm(heat.low)} <span class="heat-ramp" aria-hidden="true" /> {formatNorm(heat.high)}
          </span>
          <span>{formatCount(heat.last)}</span>
        </div>
      </div>
    </figure>
  );
}

/** One pixel per cell; the style sheet stretches it without smoothing. */
function draw(canvas: HTMLCanvasElement, heat: Heat): void {
  canvas.width = heat.columns;
  canvas.height = heat.layers.length;
  const context = canvas.getContext('2d');
  if (context === null) {
    return;
  }
  const image = context.createImageData(heat.columns, heat.layers.length);
  for (const [cell, value] of heat.values.entries()) {
    const share = shareOf(value, heat);
    if (!Number.isNaN(share)) {
      image.data.set([...colorOf(share), 255], 4 * cell);
    }
  }
  context.putImageData(image, 0, 0);
}

function reading(heat: Heat, at: { row: number; column: number } | null): string {
  const layer = at === null ? undefined : heat.layers[at.row];
  if (at === null || layer === undefined || at.column >= heat.columns) {
    return '';
  }
  const value = heat.values[at.row * heat.columns + at.column]!;
  return `${layer}, step ${formatCount(stepOf(at.column, heat))}: ${formatNorm(value)}`;
}

/** The picture in a sentence, for those who cannot see it. */
function summary(what: string, heat: Heat): string {
  const newest = (row: number): string => {
    for (let column = heat.columns - 1; column >= 0; column--) {
      const value = heat.values[row * heat.columns + column]!;
      if (!Number.isNaN(value)) {
        return formatNorm(value);
      }
    }
    return formatNorm(NaN);
  };
  const last = heat.layers.length - 1;
  return `${what} of ${heat.layers.length} layers over steps ${formatCount(heat.first)} to ${formatCount(heat.last)}. Newest: ${heat.layers[0]} ${newest(0)}, ${heat.layers[last]} ${newest(last)}.`;
}

function formatNorm(value: number): string {
  return Number.isFinite(value) ? value.toPrecision(2) : '–';
}
