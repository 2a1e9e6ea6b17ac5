// Owns: measuring the engine alone: images per second of processes that compute tasks, without a coordinator.
// Without arguments: a table of networks and precisions, each in a process of its own with one thread. To look closer at one:
//   node dist/test/bench/engine.js [architecture] [shard size] [float32|bfloat16] [steps] [shards per task] [--profile [--shapes]]
// Set TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 to measure one thread then.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { isCifarForm } from '#model/architecture.js';
import type { ModelSpec } from '#model/job-spec.js';
import { Network } from '#model/network.js';
import type { Precision } from '#model/network.js';
import { initialState } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { computeTask } from '#model/task-computation.js';
import { observeKernels } from '#model/tensorflow/kernel.js';
import { liveTensors } from '#model/tensorflow/tensor.js';
import type { Tensor } from '#model/tensorflow/tensor.js';
import { formatted, printTable, progress, quantile } from './table.js';

/** What is measured without arguments. */
const table = [
  { architecture: 'resnet20', shard: 64, precision: 'float32', steps: 40, processes: 1 },
  { architecture: 'resnet20', shard: 64, precision: 'float32', steps: 40, processes: 2 },
  { architecture: 'resnet20', shard: 64, precision: 'bfloat16', steps: 60, processes: 1 },
  { architecture: 'resnet20', shard: 64, precision: 'bfloat16', steps: 60, processes: 2 },
  { architecture: 'resnet152', shard: 8, precision: 'bfloat16', steps: 3, processes: 1 },
] as const;

interface Measured {
  readonly imagesPerSecond: number;
  readonly medianMs: number;
  readonly peakMiB: number;
}

const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const [architecture = 'resnet20', size = '64', precision = 'bfloat16', steps = '20', shardsPerTask = '1'] = words;
const profiling = process.argv.includes('--profile');

const cifar = isCifarForm(architecture);
const model: ModelSpec = {
  architecture,
  activation: 'relu',
  shortcut: cifar ? 'A' : 'B',
  batchNorm: true,
  initialisation: 'he',
  zeroLastGamma: false,
  classes: cifar ? 10 : 1000,
  imageSize: cifar ? 32 : 224,
};

const times = new Map<string, { calls: number; ms: number }>();

function record(kernel: string, ms: number, inputs: readonly Tensor[]): void {
  const label = process.argv.includes('--shapes')
    ? `${kernel} ${inputs.map(({ dtype, shape }) => `${dtype.replace('float', 'f')}[${shape.join()}]`).join(' ')}`
    : kernel;
  const row = times.get(label) ?? { calls: 0, ms: 0 };
  row.calls += 1;
  row.ms += ms;
  times.set(label, row);
}

function run(): void {
  if (profiling) observeKernels(record);
  const network = Network.create(model, precision as Precision);
  const { parameters, statistics } = initialState(model, network.layout, 1);
  const random = randomStream(1, 'bench');
  const samples = Number(size);
  const shards = Array.from({ length: Number(shardsPerTask) }, () => ({
    images: Float32Array.from({ length: samples * model.imageSize ** 2 * 3 }, () => random.normal()),
    labels: Int32Array.from({ length: samples }, () => random.below(model.classes)),
  }));
  const gradient =
    precision === 'bfloat16'
      ? new Uint16Array(network.layout.parameterCount)
      : new Float32Array(network.layout.parameterCount);
  const target = { gradient, statistics: new Float32Array(network.layout.statisticCount), onProgress: () => undefined };
  const step = (): void => {
    network.loadParameters(parameters, statistics);
    computeTask(network, shards, samples * shards.length, target);
  };
  step();
  step();
  times.clear();
  const durations: number[] = [];
  const cpuBefore = process.cpuUsage();
  for (let index = 0; index < Number(steps); index++) {
    const start = performance.now();
    step();
    durations.push(performance.now() - start);
  }
  const cpu = process.cpuUsage(cpuBefore);
  const cpuMs = (cpu.user + cpu.system) / 1000 / durations.length;
  const seconds = durations.reduce((sum, ms) => sum + ms, 0) / 1000;
  const images = samples * shards.length * durations.length;
  const medianMs = quantile(durations, 0.5);
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  if (process.send !== undefined) {
    const found: Measured = { imagesPerSecond: images / seconds, medianMs, peakMiB };
    process.send(found);
    process.disconnect();
    return;
  }
  console.log(
    `${architecture} ${precision} ${shards.length} x ${samples}: ${(images / seconds).toFixed(1)} images/s, ` +
      `step ${medianMs.toFixed(1)} ms (min ${Math.min(...durations).toFixed(1)}, CPU time ${cpuMs.toFixed(1)}), ` +
      `live tensors ${liveTensors()}, peak memory ${peakMiB.toFixed(0)} MiB`,
  );
  if (!profiling) return;
  const rows = [...times].toSorted(([, a], [, b]) => b.ms - a.ms);
  for (const [name, { calls, ms }] of rows) {
    console.log(
      `${name.padEnd(40)} ${(calls / durations.length).toFixed(1).padStart(8)} calls ${(ms / durations.length).toFixed(2).padStart(9)} ms`,
    );
  }
}

/** The table: each row's processes at once, so that they compete for memory and caches as workers do. */
async function compare(): Promise<void> {
  const rows: string[][] = [];
  for (const row of table) {
    progress(`${row.architecture} ${row.precision}, ${row.processes} at once …`);
    const found = await Promise.all(Array.from({ length: row.processes }, () => measured(row)));
    rows.push([
      `${row.architecture}, ${row.precision}, batches of ${row.shard}`,
      String(row.processes),
      formatted(
        found.reduce((sum, { imagesPerSecond }) => sum + imagesPerSecond, 0),
        1,
      ),
      formatted(Math.max(...found.map(({ medianMs }) => medianMs)), 1),
      formatted(Math.max(...found.map(({ peakMiB }) => peakMiB)), 0),
    ]);
  }
  printTable({
    title: 'Engine: forward, backward and rounding of one task after the other, one TensorFlow thread per process',
    columns: ['', 'processes', 'images/s', 'median ms per task', 'peak MiB per process'],
    rows,
    notes: ['No coordinator, no network, random images; images/s of all processes together.'],
  });
}

async function measured(row: (typeof table)[number]): Promise<Measured> {
  const env = { ...process.env, TF_NUM_INTRAOP_THREADS: '1', TF_NUM_INTEROP_THREADS: '1', TF_CPP_MIN_LOG_LEVEL: '2' };
  const child: ChildProcess = fork(
    import.meta.filename,
    [row.architecture, String(row.shard), row.precision, String(row.steps)],
    { env },
  );
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`The process that measured ${row.architecture} ended with exit code ${code}.`);
  });
  const [message] = await Promise.race([once(child, 'message'), ended]);
  ended.catch(() => undefined);
  return message as Measured;
}

if (words.length === 0 && !profiling) await compare();
else run();
