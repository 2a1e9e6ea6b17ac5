// Owns: measuring the engine alone: images per second of processes that compute tasks, without a coordinator.
// Without arguments: a table of networks and precisions, each in processes of its own, and PyTorch beside it in the same run where
// a Python with it is named; --steps N measures fewer or more tasks of each. To look closer at one:
//   node dist/test/bench/engine.js [architecture] [shard size] [float32|bfloat16] [steps] [shards per task] [--profile [--shapes]]
// Set TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 to measure one thread then.

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { Network } from '#model/network.js';
import type { Precision } from '#model/network.js';
import { initialState } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { pageAligned } from '#model/simd/page-aligned.js';
import { computeTask } from '#model/task-computation.js';
import { observeKernels } from '#model/tensorflow/kernel.js';
import { liveTensors } from '#model/tensorflow/tensor.js';
import type { Tensor } from '#model/tensorflow/tensor.js';
import { pytorch } from './pytorch.js';
import { paperModel } from '../support/paper-model.js';
import { formatted, printTable, progress, quantile } from './table.js';

/** What is measured without arguments. */
const table = [
  { architecture: 'resnet20', shard: 64, precision: 'float32', steps: 40, processes: 1, threads: 1 },
  { architecture: 'resnet20', shard: 64, precision: 'float32', steps: 40, processes: 2, threads: 1 },
  { architecture: 'resnet20', shard: 64, precision: 'bfloat16', steps: 60, processes: 1, threads: 1 },
  { architecture: 'resnet20', shard: 64, precision: 'bfloat16', steps: 60, processes: 2, threads: 1 },
  { architecture: 'resnet152', shard: 8, precision: 'bfloat16', steps: 5, processes: 1, threads: 1 },
  { architecture: 'resnet152', shard: 8, precision: 'float32', steps: 5, processes: 1, threads: 2, pytorch: true },
  { architecture: 'resnet152', shard: 8, precision: 'bfloat16', steps: 5, processes: 1, threads: 2, pytorch: true },
] as const;

interface Measured {
  readonly imagesPerSecond: number;
  readonly medianMs: number;
  readonly peakMiB: number;
}

const stepsAt = process.argv.indexOf('--steps');
/** Of each row of the table; its own where nothing is said. */
const stepsAsked = stepsAt < 0 ? undefined : Number(process.argv[stepsAt + 1]);
const words = process.argv.slice(2).filter((word, index) => !word.startsWith('--') && index !== stepsAt - 1);
const [architecture = 'resnet20', size = '64', precision = 'bfloat16', steps = '20', shardsPerTask = '1'] = words;
const profiling = process.argv.includes('--profile');

const model = paperModel(architecture);

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
  const { parameterCount } = network.layout;
  // As workers have them: kernels compute with a version in place.
  const version = new Float32Array(pageAligned(4 * parameterCount), 0, parameterCount);
  const { parameters, statistics } = initialState(model, network.layout, 1, version);
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
    network.dispose();
    network.lendParameters({ parameters, exact: new Float32Array(0), statistics, wait: () => undefined });
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

interface PyTorchAnswer {
  readonly imagesPerSecond: number;
  readonly peakMiB: number;
  readonly torch: string;
}

/** The table: each row's processes at once, so that they compete for memory and caches as workers do; PyTorch right after its row. */
async function compare(): Promise<void> {
  const rows: string[][] = [];
  let torch: string | undefined;
  for (const row of table) {
    progress(`${row.architecture} ${row.precision}, ${row.processes} at once with ${row.threads} threads …`);
    const found = await Promise.all(Array.from({ length: row.processes }, () => measured(row)));
    const other = 'pytorch' in row ? await pytorchOf(row) : undefined;
    torch = other?.torch ?? torch;
    const byMedian = found.reduce((sum, { medianMs }) => sum + (1000 * row.shard) / medianMs, 0);
    rows.push([
      `${row.architecture}, ${row.precision}, batches of ${row.shard}`,
      `${row.processes} x ${row.threads}`,
      formatted(
        found.reduce((sum, { imagesPerSecond }) => sum + imagesPerSecond, 0),
        1,
      ),
      formatted(Math.max(...found.map(({ medianMs }) => medianMs)), 1),
      formatted(Math.max(...found.map(({ peakMiB }) => peakMiB)), 0),
      other === undefined ? '–' : formatted(other.imagesPerSecond, 2),
      other === undefined ? '–' : formatted(other.peakMiB, 0),
      other === undefined ? '–' : formatted(byMedian / other.imagesPerSecond, 2),
    ]);
  }
  printTable({
    title: 'Engine: forward, backward and rounding of one task after the other',
    columns: [
      '',
      'processes x threads',
      'images/s',
      'median ms per task',
      'peak MiB per process',
      'PyTorch images/s',
      'peak MiB',
      'ratio',
    ],
    rows,
    notes: [
      'No coordinator, no network, random images; images/s of all processes together, after two tasks that warm up.',
      ...(torch === undefined
        ? []
        : [
            `PyTorch ${torch}: channels last, bfloat16 by autocast, the same batches; the ratio is that of images/s by the median step.`,
          ]),
    ],
  });
}

/** The same work in PyTorch; undefined without a Python that has it. */
function pytorchOf(row: (typeof table)[number]): Promise<PyTorchAnswer | undefined> {
  const { architecture: name, shard, precision: numbers, threads, steps: usual } = row;
  const asked = String(stepsAsked ?? usual);
  const args = ['--architecture', name, '--batch', String(shard), '--precision', numbers];
  return pytorch('pytorch_engine.py', [...args, '--threads', String(threads), '--steps', asked]);
}

async function measured(row: (typeof table)[number]): Promise<Measured> {
  const threads = String(row.threads);
  const env = {
    ...process.env,
    TF_NUM_INTRAOP_THREADS: threads,
    TF_NUM_INTEROP_THREADS: '1',
    TF_CPP_MIN_LOG_LEVEL: '2',
  };
  const child: ChildProcess = fork(
    import.meta.filename,
    [row.architecture, String(row.shard), row.precision, String(stepsAsked ?? row.steps)],
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
