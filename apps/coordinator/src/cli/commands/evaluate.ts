// `evaluate`: how good a net, or several together, are on test images, class by class.
// Refuses to know how views are made and averaged.
import { ClassTable, type ClassFigures, type Confusion } from '#model/class-table.js';
import { evaluateAll, type EvaluationResult } from '#model/evaluation.js';
import { evaluationShardSize } from '#model/evaluation-views.js';
import { classNamesOf, inputOf } from '#model/exchange/model-input.js';
import type { StoredModel } from '#model/exchange/stored-model.js';
import { exitCodes, WrongUsage } from '../exit.js';
import { formatCount, formatLoss, formatShare } from '../format.js';
import { withNetworks } from '../networks.js';
import { outputWidth, printJson, printLines } from '../output.js';
import { StatusLine } from '../status-line.js';
import { storedModelAt } from '../stored-models.js';
import { renderTable } from '../table.js';
import { openTestImages, type TestImages } from '../test-images.js';

export interface EvaluateOptions {
  readonly checkpoint: readonly string[];
  readonly dataset?: string;
  readonly crops: '1' | '10';
  readonly scales?: readonly number[];
  readonly architecture?: string;
  readonly batchSize?: number;
  readonly threads: number;
  readonly url?: string;
  readonly json?: boolean;
}

/** Rows of each table for people; JSON has all classes. */
const MOST_ROWS = 20;

export async function evaluate(options: EvaluateOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  if (options.url !== undefined) {
    const { evaluateInPool } = await import('./evaluate-in-pool.js');
    return evaluateInPool(options.url, options, environment);
  }
  const models = options.checkpoint.map((path) => storedModelAt(path, options.architecture));
  const [first] = models;
  if (first === undefined) throw new WrongUsage('Name a checkpoint with --checkpoint.');
  for (const other of models) checkTogether(first, other);
  const views = { crops: options.crops === '10' ? (10 as const) : (1 as const), scales: [...(options.scales ?? [])] };
  const images = await openTestImages(first, options.dataset, views, environment);
  const table = new ClassTable(first.model.classes);
  const result = await judged(models, images, options, table);
  const names = images.dataset.classNames ?? classNamesOf(first);
  if (options.json === true) printJson(asJson(models, images, result, table, names));
  else printLines(asText(result, table, names));
  await images.dataset.close();
  return exitCodes.good;
}

async function judged(
  models: readonly StoredModel[],
  { spec, dataset, shardSize }: TestImages,
  options: EvaluateOptions,
  table: ClassTable,
): Promise<EvaluationResult> {
  const status = new StatusLine(process.stderr);
  let done = 0;
  try {
    return await withNetworks(models, options.threads, (networks) =>
      evaluateAll(networks, dataset, {
        shardSize: options.batchSize ?? evaluationShardSize(spec.model, spec.evaluation, shardSize),
        views: spec.evaluation,
        onShard(labels, scores) {
          table.add(labels, scores);
          done += labels.length;
          status.update(() => `${formatCount(done)} of ${formatCount(dataset.testCount)} images`);
        },
      }),
    );
  } finally {
    status.clear();
  }
}

/** Nets whose scores are averaged must mean the same by their classes and see the same pixels. */
function checkTogether(first: StoredModel, other: StoredModel): void {
  const what = (stored: StoredModel) => {
    const { imageSize, mean, std } = inputOf(stored);
    return `${stored.model.classes} classes, images ${imageSize} pixels wide, mean ${mean.join(' ')}, deviation ${std.join(' ')}`;
  };
  if (what(first) === what(other)) return;
  throw new WrongUsage(
    `${first.source} (${what(first)}) and ${other.source} (${what(other)}) cannot be averaged: they see other images.`,
  );
}

const share = (hits: number, samples: number): number => hits / samples;

function asJson(
  models: readonly StoredModel[],
  { spec, dataset }: TestImages,
  { samples, lossSum, top1Hits, top5Hits }: EvaluationResult,
  table: ClassTable,
  names: readonly string[],
): object {
  const loss = lossSum / samples;
  const { crops, scales } = spec.evaluation;
  return {
    checkpoints: models.map(({ source }) => source),
    dataset: spec.dataset.kind,
    datasetIndexHash: dataset.indexHash,
    crops,
    scales,
    samples,
    loss: Number.isFinite(loss) ? loss : null,
    top1: share(top1Hits, samples),
    top5: share(top5Hits, samples),
    classes: table.rows.map((row) => ({
      index: row.label,
      label: names[row.label] ?? String(row.label),
      samples: row.samples,
      top1: share(row.top1Hits, row.samples),
      top5: share(row.top5Hits, row.samples),
    })),
    confusions: table.worstConfusions(100).map(({ label, predicted, count }) => ({
      label: names[label] ?? String(label),
      predicted: names[predicted] ?? String(predicted),
      count,
    })),
  };
}

function asText(result: EvaluationResult, table: ClassTable, names: readonly string[]): string[] {
  const { samples, lossSum, top1Hits, top5Hits } = result;
  const summary =
    `${formatCount(samples)} images: loss ${formatLoss(lossSum / samples)}, ` +
    `top-1 ${formatShare(share(top1Hits, samples))}, top-5 ${formatShare(share(top5Hits, samples))}`;
  return [
    summary,
    '',
    ...classLines(table.rows, names),
    '',
    ...confusionLines(table.worstConfusions(MOST_ROWS / 2), names),
  ];
}

/** All classes where they are few, else the worst, the worst first. */
function classLines(rows: readonly ClassFigures[], names: readonly string[]): string[] {
  const byTop1 = rows.toSorted((a, b) => a.top1Hits / a.samples - b.top1Hits / b.samples || a.label - b.label);
  const columns = [
    { title: rows.length > MOST_ROWS ? `WORST OF ${rows.length} CLASSES` : 'CLASS', shrinkTo: 8 },
    { title: 'IMAGES', align: 'right' },
    { title: 'TOP-1', align: 'right' },
    { title: 'TOP-5', align: 'right' },
  ] as const;
  const shown = (rows.length > MOST_ROWS ? byTop1.slice(0, MOST_ROWS) : rows).map(
    ({ label, samples, top1Hits, top5Hits }) => [
      names[label] ?? String(label),
      formatCount(samples),
      formatShare(share(top1Hits, samples)),
      formatShare(share(top5Hits, samples)),
    ],
  );
  return renderTable(columns, shown, outputWidth());
}

function confusionLines(confusions: readonly Confusion[], names: readonly string[]): string[] {
  if (confusions.length === 0) return ['No image was taken for another class.'];
  const columns = [
    { title: 'IMAGES OF', shrinkTo: 8 },
    { title: 'TAKEN FOR', shrinkTo: 8 },
    { title: 'COUNT', align: 'right' },
  ] as const;
  const rows = confusions.map(({ label, predicted, count }) => [
    names[label] ?? String(label),
    names[predicted] ?? String(predicted),
    formatCount(count),
  ]);
  return renderTable(columns, rows, outputWidth());
}
