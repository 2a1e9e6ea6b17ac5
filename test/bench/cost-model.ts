// Holds the formula of docs/performance.md (libs/model/cost-model.ts) against real steps: measures its inputs one by one, predicts,
// trains, compares. Then asks it about machines that are not here. Refuses to fit anything to what it predicts.
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { efficiencyOf, largestPool, predictStep, type SliceRates, type StepCosts } from '#model/cost-model.js';
import { type JobSpec, resolveJobSpec } from '#model/job-spec.js';
import { contributionBytes } from '#model/memory.js';
import { layoutOf } from '#model/parameters.js';
import { runEngine } from '../../apps/coordinator/src/cli/tune/engine-runs.js';
import { LocalSystem } from './local-system.js';
import { stepsOr } from './steps.js';
import { formatted, printTable, progress, quantile } from './table.js';

// The formula is one of networks.
process.env['LOCKSTEP_SHARED_MEMORY_DIR'] = 'off';

const cores = availableParallelism();

interface Case {
  readonly name: string;
  readonly spec: object;
  readonly steps: number;
  readonly warmUp: number;
}

const synthetic = (imageSize: number, classes: number): object => ({
  kind: 'synthetic',
  size: 1024,
  testSize: 8,
  classes,
  imageSize,
});

const cases: readonly Case[] = [
  {
    name: 'ResNet-20, batch 128 in tasks of 64',
    spec: {
      model: { architecture: 'resnet20' },
      dataset: synthetic(32, 10),
      training: { batchSize: 128, shardSize: 64, precision: 'bfloat16' },
    },
    steps: stepsOr(100),
    warmUp: 20,
  },
  {
    name: 'ResNet-152 at 224, batch 32 in tasks of 8',
    spec: {
      model: { architecture: 'resnet152' },
      dataset: synthetic(224, 1000),
      training: { batchSize: 32, shardSize: 8, precision: 'bfloat16' },
    },
    steps: stepsOr(5),
    warmUp: 2,
  },
];

/** As many bytes as ResNet-152 at 224 and hardly any computing: tells what a slice does per second. */
const heavy: Case = {
  name: 'ResNet-152 at 32',
  spec: {
    model: { architecture: 'resnet152' },
    dataset: synthetic(32, 1000),
    training: { batchSize: 8, shardSize: 4, precision: 'bfloat16' },
  },
  steps: stepsOr(8),
  warmUp: 2,
};
/** Hardly any bytes: tells what a step takes however small it is. */
const light: Case = {
  name: 'ResNet-8, batch 8 in one task',
  spec: {
    model: { architecture: 'resnet8' },
    dataset: synthetic(32, 10),
    training: { batchSize: 8, shardSize: 8, precision: 'bfloat16' },
  },
  steps: stepsOr(100),
  warmUp: 20,
};

interface Trained {
  /** Of each step that was measured. */
  readonly seconds: readonly number[];
  readonly slices: number;
  /** Median duration of the slices' spans of a name, seconds. */
  readonly spanSeconds: (name: string) => number;
}

async function train({ name, spec, steps, warmUp }: Case, workers: number): Promise<Trained> {
  progress(`${name}: ${warmUp} + ${steps} steps with ${workers} worker${workers === 1 ? '' : 's'} …`);
  const system = await LocalSystem.start(workers);
  try {
    const { training } = spec as { training: object };
    const job = await system.train({
      ...spec,
      name,
      training: { ...training, steps: warmUp + steps },
      evaluation: { everyEpochs: 0 },
      checkpoint: { everySteps: 0 },
    });
    const { 'step/seconds': seconds = [] } = await system.metrics(job.id, ['step/seconds']);
    if (seconds.length !== warmUp + steps) throw new Error(`${name}: there are times of ${seconds.length} steps.`);
    const spans = await system.timeline(job.id, warmUp, warmUp + steps - 1);
    const ofSlices = spans.filter(({ cat }) => cat.startsWith('slice '));
    const spanSeconds = (wanted: string): number =>
      quantile(
        ofSlices.filter((span) => span.name === wanted).map(({ dur }) => dur / 1e6),
        0.5,
      );
    const slices = new Set(ofSlices.map(({ cat }) => cat.split(' ')[1])).size;
    return { seconds: seconds.slice(warmUp), slices, spanSeconds };
  } finally {
    await system.stop();
  }
}

/** The engine's part of a case, as many processes at once as there are workers. */
async function engineOf(spec: JobSpec, workers: number): Promise<{ taskSeconds: number; forwardShare: number }> {
  const { model, training } = spec;
  const run = { model, training, workers, threads: 1, budgetMs: 5_000, leastTasks: 3 };
  return await runEngine(run, process.env);
}

async function wireRates(): Promise<{ push: number; pull: number }> {
  progress('Wire …');
  const { stdout } = await promisify(execFile)(process.execPath, [
    fileURLToPath(new URL('wire.js', import.meta.url)),
    'rates',
  ]);
  return JSON.parse(stdout) as { push: number; pull: number };
}

interface Machine {
  readonly slices: number;
  readonly slice: Omit<SliceRates, 'elements'>;
  readonly fixedSeconds: number;
}

/** What this machine does, whatever it trains. */
async function measureMachine(): Promise<Machine> {
  const wire = await wireRates();
  const { slices, spanSeconds } = await train(heavy, 1);
  const elements = layoutOf(resolved(heavy).model).parameterCount / slices;
  const lightSpec = resolved(light);
  const { taskSeconds } = await engineOf(lightSpec, 1);
  const { seconds } = await train(light, 1);
  return {
    slices,
    slice: {
      stageBytesPerSecond: wire.push,
      pullBytesPerSecond: wire.pull,
      addElementsPerSecond: elements / spanSeconds('add'),
      updateElementsPerSecond: elements / (spanSeconds('norms') + spanSeconds('update')),
    },
    fixedSeconds: Math.max(0, quantile(seconds, 0.5) - taskSeconds),
  };
}

function resolved({ spec }: Case): JobSpec {
  const { training } = spec as { training: object };
  return resolveJobSpec({ ...spec, training: { ...training, steps: 1 } });
}

function costsOf(
  spec: JobSpec,
  workers: number,
  machine: Machine,
  engine: { taskSeconds: number; forwardShare: number },
): StepCosts {
  const layout = layoutOf(spec.model);
  const { batchSize, shardSize, shardsPerTask } = spec.training;
  return {
    ...engine,
    tasks: Math.ceil(batchSize / (shardSize * shardsPerTask)),
    workers,
    parameterBytes: (spec.training.precision === 'bfloat16' ? 2 : 4) * layout.parameterCount,
    gradientBytes: contributionBytes(layout, spec.training),
    // Over loopback there is no link; the slices' rates say what streams reach.
    workerBytesPerSecond: Math.min(machine.slice.pullBytesPerSecond, machine.slice.stageBytesPerSecond),
    reducerBytesPerSecond: Infinity,
    reducerHosts: 1,
    slices: machine.slices,
    slice: { ...machine.slice, elements: layout.parameterCount },
    pullOverlap: 1,
    fixedSeconds: machine.fixedSeconds,
    sharedCores: cores,
  };
}

async function compare(machine: Machine): Promise<void> {
  const rows: string[][] = [];
  for (const each of cases) {
    const spec = resolved(each);
    for (const workers of [1, 2]) {
      const step = predictStep(costsOf(spec, workers, machine, await engineOf(spec, workers)));
      const measured = quantile((await train(each, workers)).seconds, 0.5);
      rows.push([
        `${each.name}, ${workers} worker${workers === 1 ? '' : 's'}`,
        ...[step.computeSeconds, step.pullSeconds + step.pushSeconds, step.reduceSeconds, step.contentionSeconds].map(
          (seconds) => formatted(seconds, 3),
        ),
        formatted(step.stepSeconds, 3),
        formatted(measured, 3),
        `${formatted(100 * (step.stepSeconds / measured - 1), 0)} %`,
      ]);
    }
  }
  const { slice, slices, fixedSeconds } = machine;
  printTable({
    title: `Cost model: seconds of a step, predicted and measured (bfloat16, one thread per worker, ${cores} cores for all)`,
    columns: ['', 'compute', 'pull and push', 'reduce', 'contention', 'predicted', 'measured', 'difference'],
    rows,
    notes: [
      `Inputs, none of them from the jobs above: tasks by the engine alone, as many processes as workers; a stream ` +
        `${gigabytes(slice.stageBytesPerSecond)} GB/s up and ${gigabytes(slice.pullBytesPerSecond)} GB/s down; ${slices} ` +
        `slice${slices === 1 ? '' : 's'} that each add ${millions(slice.addElementsPerSecond)} and update ` +
        `${millions(slice.updateElementsPerSecond)} million elements a second; ${formatted(1000 * fixedSeconds, 1)} ms per step besides.`,
      '"Contention" is what workers and coordinator take from each other on shared cores. Medians.',
    ],
  });
}

/** One GPU: an assumption, not a measurement; a task is what it computes per step. */
const gpu = { imagesPerSecond: 1000, imagesPerTask: 256, slices: 16 } as const;

function ask(machine: Machine): void {
  const spec = resolved(cases[1]!);
  const layout = layoutOf(spec.model);
  const rows: string[][] = [];
  for (const reducerHosts of [1, 8]) {
    for (const gigabits of [25, 100]) {
      const link = (gigabits * 1e9) / 8;
      const costs = {
        taskSeconds: gpu.imagesPerTask / gpu.imagesPerSecond,
        forwardShare: 1 / 3,
        parameterBytes: 2 * layout.parameterCount,
        gradientBytes: contributionBytes(layout, spec.training),
        workerBytesPerSecond: link,
        reducerBytesPerSecond: link,
        reducerHosts,
        slices: gpu.slices,
        slice: { ...machine.slice, elements: layout.parameterCount },
        pullOverlap: 1,
        fixedSeconds: machine.fixedSeconds,
      };
      const largest = largestPool(costs, 0.8, 1024);
      for (const workers of [8, 64]) {
        const step = predictStep({ ...costs, workers, tasks: workers });
        rows.push([
          `${reducerHosts} reducer host${reducerHosts === 1 ? '' : 's'}, ${gigabits} Gbit/s, ${workers} workers`,
          formatted(step.computeSeconds, 3),
          formatted(step.pullSeconds + step.pushSeconds, 3),
          formatted(step.reduceSeconds, 3),
          formatted(step.stepSeconds, 3),
          `${formatted(100 * efficiencyOf(step), 0)} %`,
          step.boundBy,
          largest >= 1024 ? 'above 1,000' : formatted(largest, 0),
        ]);
      }
    }
  }
  printTable({
    title: `What the model says of GPU workers: ResNet-152, ${gpu.imagesPerTask} images per worker and step`,
    columns: ['', 'compute', 'pull and push', 'reduce', 'step, s', 'efficiency', 'bound by', 'workers at 80 %'],
    rows,
    notes: [
      `Assumed, not measured: a GPU computes ${formatted(gpu.imagesPerSecond, 0)} images/s; links reach their rate; ${gpu.slices} slices per ` +
        "reducer host at this machine's rates; bfloat16 both ways, pulls in the order of forward. " +
        '"Workers at 80 %" is the largest pool that still reaches that efficiency.',
    ],
  });
}

const gigabytes = (rate: number): string => formatted(rate / 1e9, 2);
const millions = (rate: number): string => formatted(rate / 1e6, 0);

const machine = await measureMachine();
await compare(machine);
process.stdout.write('\n');
ask(machine);
