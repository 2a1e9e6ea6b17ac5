// The same training in float32 and in bfloat16: loss and accuracy, one on top of the other, as figures and as a picture.
// Refuses to judge them. Usage: node dist/test/bench/precision-curves.js [epochs, 10] [steps per epoch, all] [--write]
// `--write` keeps the picture, docs/images/precision-curves.svg; the table is kept by main.ts. Both trainings run at once, a
// thread each.
import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { openDataset } from '#model/datasets/dataset.js';
import { trainInProcess } from '#model/in-process-training.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { loadConfig } from '../../apps/coordinator/src/config.js';
import { findCifar10 } from '../../apps/coordinator/src/setup/cifar10.js';
import { tensorflowEnvironment } from '../../apps/worker/src/config.js';
import { drawCurves, type Curve } from './precision-picture.js';
import { formatted, printTable, progress } from './table.js';

const precisions = ['float32', 'bfloat16'] as const;
type Precision = (typeof precisions)[number];

/** Points of one training: of the loss the mean over so many steps, of the test one per epoch. */
interface Measured {
  readonly precision: Precision;
  readonly trainLoss: readonly (readonly [step: number, value: number])[];
  readonly testLoss: readonly (readonly [step: number, value: number])[];
  readonly testTop1: readonly (readonly [step: number, value: number])[];
}

const stepsPerPoint = 20;
const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: 'boolean' } } });
const [epochs = 10, steps] = positionals.filter((word) => Number.isFinite(Number(word))).map(Number);
const child = positionals.find((word): word is Precision => precisions.some((precision) => precision === word));

if (child !== undefined) await train(child);
else await compare();

async function train(precision: Precision): Promise<void> {
  // Whoever asked is gone: nobody wants to know any more.
  process.once('disconnect', () => process.exit());
  const spec = resolveJobSpec({
    preset: 'resnet20-cifar10',
    training: {
      ...(steps === undefined ? { epochs } : { steps: steps * epochs }),
      precision,
      wire: precision,
      schedule: {
        kind: 'one-cycle',
        learningRate: 0.4,
        warmupEpochs: 0.2 * (steps === undefined ? epochs : (epochs * steps) / 391),
      },
      optimizer: { weightDecay: 0.0005 },
    },
    evaluation: { everyEpochs: 1 },
  });
  const location = await findCifar10(loadConfig(process.env).cacheDir);
  if (location === undefined)
    throw new Error('CIFAR-10 is not in the cache: run `npx lockstep dataset prepare cifar10`.');
  const dataset = await openDataset(spec.dataset, location);
  const trainLoss: [number, number][] = [];
  const [testLoss, testTop1]: [[number, number][], [number, number][]] = [[], []];
  let sum = 0;
  await trainInProcess(spec, dataset, {
    onStep: ({ step, loss }) => {
      sum += loss;
      if ((step + 1) % stepsPerPoint !== 0) return;
      trainLoss.push([step + 1, sum / stepsPerPoint]);
      sum = 0;
    },
    onEvaluation: ({ version, lossSum, top1Hits, samples }) => {
      testLoss.push([version, lossSum / samples]);
      testTop1.push([version, top1Hits / samples]);
      progress(`${precision}, step ${version}: test accuracy ${((100 * top1Hits) / samples).toFixed(1)} %`);
    },
  });
  await dataset.close();
  const result: Measured = { precision, trainLoss, testLoss, testTop1 };
  process.send?.(result, () => process.disconnect());
}

async function compare(): Promise<void> {
  const started = Date.now();
  const found = await Promise.all(precisions.map((precision) => measured(precision)));
  const [float32, bfloat16] = found as [Measured, Measured];
  const rows = float32.testTop1.map(([step, accuracy], index) => {
    const [percent, other] = [accuracy, bfloat16.testTop1[index]?.[1] ?? NaN].map((share) => formatted(100 * share, 2));
    const losses = [float32, bfloat16].map(({ testLoss }) => formatted(testLoss[index]?.[1] ?? NaN, 4));
    return [String(step), losses[0]!, losses[1]!, percent!, other!];
  });
  const minutes = ((Date.now() - started) / 60_000).toFixed(1);
  printTable({
    title: `ResNet-20 on CIFAR-10 in float32 and bfloat16, ${epochs} epochs, same seed, order and augmentation`,
    columns: ['step', 'test loss, float32', 'bfloat16', 'test accuracy %, float32', 'bfloat16'],
    rows,
    notes: [`${minutes} minutes, both at once with a thread each.`],
  });
  if (values.write !== true) return;
  // Beside the document that the table is kept in.
  console.log('![Training loss and test accuracy by step, in float32 and bfloat16](images/precision-curves.svg)');
  const curves = (read: (one: Measured) => Curve['points']): Curve[] =>
    found.map((one) => ({ name: one.precision, points: read(one) }));
  const percent = ({ testTop1 }: Measured): Curve['points'] => testTop1.map(([step, share]) => [step, 100 * share]);
  writeFileSync(
    fileURLToPath(new URL('../../../docs/images/precision-curves.svg', import.meta.url)),
    drawCurves([
      { title: `Training loss, mean of ${stepsPerPoint} steps`, along: 'step', curves: curves((one) => one.trainLoss) },
      { title: 'Test accuracy, %', along: 'step', curves: curves(percent) },
    ]),
  );
}

async function measured(precision: Precision): Promise<Measured> {
  const words = [precision, String(epochs), ...(steps === undefined ? [] : [String(steps)])];
  const env = { ...process.env, ...tensorflowEnvironment(1) };
  const one: ChildProcess = fork(import.meta.filename, words, { env });
  const ended = once(one, 'exit').then(([code]) => {
    throw new Error(`The training in ${precision} ended with exit code ${code}.`);
  });
  const [message] = await Promise.race([once(one, 'message'), ended]);
  ended.catch(() => undefined);
  return message as Measured;
}
