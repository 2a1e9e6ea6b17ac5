// The curves of a job: which series go together, and how they are written.
import type { JobView } from '../../src/jobs/ports.js';
import {
  formatLoss,
  formatPercent,
  formatPlain,
  formatRate,
  formatShortTime,
  formatTickPercent,
  formatTickTime,
} from '../state/format.js';
import { hasEnded } from '../state/job-facts.js';
import { curves, type Curves } from '../state/store.js';
import { Chart, type ChartSpec } from './chart.js';
import { HeatMap } from './heat-map.js';

const charts: readonly ChartSpec[] = [
  {
    id: 'loss',
    title: 'Loss',
    format: formatLoss,
    tick: formatPlain,
    lines: [
      { series: 'train/loss', label: 'train', color: 'train', smoothed: true },
      { series: 'test/loss', label: 'test', color: 'test', dots: true },
    ],
  },
  {
    id: 'accuracy',
    title: 'Top-1 accuracy',
    format: formatPercent,
    tick: formatTickPercent,
    lines: [
      { series: 'train/top1', label: 'train', color: 'train', smoothed: true },
      { series: 'test/top1', label: 'test', color: 'test', dots: true },
    ],
  },
  {
    id: 'learning-rate',
    title: 'Learning rate',
    format: formatPlain,
    tick: formatPlain,
    fromZero: true,
    lines: [{ series: 'learning_rate', label: 'rate', color: 'third' }],
  },
  {
    id: 'gradient-norm',
    title: 'Gradient norm',
    format: formatPlain,
    tick: formatPlain,
    lines: [{ series: 'gradient/norm', label: 'norm', color: 'third', smoothed: true }],
  },
  {
    id: 'throughput',
    title: 'Images per second',
    format: formatRate,
    tick: formatPlain,
    fromZero: true,
    lines: [{ series: 'throughput/images_per_second', label: 'images/s', color: 'train', smoothed: true }],
  },
  {
    id: 'step-time',
    title: 'Step time',
    format: formatShortTime,
    tick: formatTickTime,
    fromZero: true,
    lines: [
      { series: 'step/seconds', label: 'step', color: 'train', smoothed: true },
      { series: 'step/wait_seconds', label: 'waiting', color: 'test', smoothed: true },
    ],
  },
];

export function JobCharts({ job }: { job: JobView }) {
  const known = curves.value;
  if (known === null || known.jobId !== job.id) {
    return null;
  }
  const empty = Object.values(known.series).every((points) => points.length === 0);
  // Live points alone would make an axis that jumps as soon as the rest has come.
  if (empty || known.state === 'loading') {
    return (
      <p class="charts-empty" data-testid="charts-empty">
        {emptyText(job, known.state)}
      </p>
    );
  }
  return (
    <section class="charts" aria-label="Curves" data-testid="charts">
      {charts.map((spec) => (
        <Chart spec={spec} series={known.series} key={spec.id} />
      ))}
      <HeatMap series={known.series} />
    </section>
  );
}

function emptyText(job: JobView, state: Curves['state']): string {
  switch (state) {
    case 'loading':
      return 'Fetching the curves…';
    case 'failed':
      return 'The curves could not be fetched; they come back with the connection.';
    case 'loaded':
      return hasEnded(job) ? 'This job ended before its first step.' : 'The curves begin with the first step.';
  }
}
