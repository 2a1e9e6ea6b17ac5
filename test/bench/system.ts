// The whole system as `lockstep up` starts it, two workers with one thread each, against PyTorch's DDP with as many processes and the
// same global batch. Refuses to take part: the numbers are the job's own metrics and ledger.
import { type LedgerEntry, LocalSystem } from './local-system.js';
import { pytorch } from './pytorch.js';
import { stepsOr } from './steps.js';
import { formatted, printTable, progress, quantile } from './table.js';

const workers = 2;

interface Case {
  readonly name: string;
  readonly batchSize: number;
  readonly spec: object;
  readonly steps: number;
  readonly warmUp: number;
  /** Of pytorch_ddp.py: batches of each process that make up the same global batch. */
  readonly ddp: readonly string[];
}

const cases: readonly Case[] = [
  {
    name: 'ResNet-152 at 224, batch 64 in shards of 8',
    batchSize: 64,
    spec: {
      model: { architecture: 'resnet152' },
      dataset: { kind: 'synthetic', size: 1024, testSize: 8, classes: 1000, imageSize: 224 },
      training: { batchSize: 64, shardSize: 8, shardsPerTask: 1, precision: 'bfloat16' },
    },
    steps: stepsOr(5),
    warmUp: 2,
    ddp: ['--architecture', 'resnet152', '--batch', '8', '--accumulate', '4'],
  },
  {
    name: 'ResNet-20 on CIFAR-10, batch 128 in shards of 64',
    batchSize: 128,
    spec: {
      preset: 'resnet20-cifar10-demo',
      training: { batchSize: 128, shardSize: 64, shardsPerTask: 1, precision: 'bfloat16' },
    },
    steps: stepsOr(160),
    warmUp: 40,
    ddp: ['--architecture', 'resnet20', '--batch', '64', '--accumulate', '1'],
  },
];

interface Found {
  readonly stepSeconds: number;
  /** Median share of a step in which the worker that computed most did not compute. */
  readonly uncovered: number;
}

async function train({ name, spec, steps, warmUp }: Case): Promise<Found> {
  const system = await LocalSystem.start(workers);
  try {
    const { training } = spec as { training: object };
    const all = steps + warmUp;
    const job = await system.train({
      ...spec,
      name,
      training: { ...training, steps: all },
      evaluation: { everyEpochs: 0 },
      checkpoint: { everySteps: 0 },
    });
    const { 'step/seconds': seconds = [] } = await system.metrics(job.id, ['step/seconds']);
    const ledger = await system.ledger(job.id);
    if (seconds.length !== all || ledger.length !== all) {
      throw new Error(
        `${name}: there are times of ${seconds.length} and records of ${ledger.length} steps, not ${all}.`,
      );
    }
    const measured = seconds.slice(warmUp);
    const uncovered = measured.map((time, index) => 1 - busiest(ledger[warmUp + index]!) / time);
    return { stepSeconds: quantile(measured, 0.5), uncovered: quantile(uncovered, 0.5) };
  } finally {
    await system.stop();
  }
}

/** Seconds that the worker with most work of a step computed. */
function busiest({ tasks }: LedgerEntry): number {
  const byWorker = new Map<string, number>();
  for (const { worker, seconds } of tasks) byWorker.set(worker, (byWorker.get(worker) ?? 0) + seconds);
  return Math.max(...byWorker.values());
}

interface PyTorchAnswer {
  readonly medianImagesPerSecond: number;
  readonly torch: string;
}

const rows: string[][] = [];
let torch: string | undefined;
for (const each of cases) {
  progress(`${each.name}: Lockstep, ${each.warmUp} + ${each.steps} steps …`);
  const { stepSeconds, uncovered } = await train(each);
  const rate = each.batchSize / stepSeconds;
  progress(`${each.name}: PyTorch DDP …`);
  const other = await pytorch<PyTorchAnswer>('pytorch_ddp.py', [
    ...each.ddp,
    ...['--precision', 'bfloat16', '--steps', String(each.steps), '--warm-up', String(each.warmUp)],
  ]);
  torch = other?.torch ?? torch;
  const digits = rate < 100 ? 2 : 0;
  rows.push([
    each.name,
    formatted(rate, digits),
    formatted(stepSeconds, 3),
    `${formatted(100 * uncovered, 1)} %`,
    other === undefined ? '–' : formatted(other.medianImagesPerSecond, digits),
    other === undefined ? '–' : formatted(rate / other.medianImagesPerSecond, 2),
  ]);
}
printTable({
  title: `Whole system, ${workers} workers with one thread each, bfloat16`,
  columns: ['', 'images/s', 'median step, s', 'not covered by computing', 'PyTorch DDP images/s', 'ratio'],
  rows,
  notes: [
    `Medians of ${cases.map(({ steps, warmUp }) => `${steps} steps after ${warmUp}`).join(' and ')} that warm up. "Not covered by computing" ` +
      'is the part of a step in which the worker that computes most of it does not compute.',
    ...(torch === undefined
      ? []
      : [
          `PyTorch ${torch}: DDP over gloo, 2 processes with one thread each, channels last, bfloat16 by autocast, images that lie in memory; ` +
            'the same global batch, by accumulation over 4 batches of 8 per process for ResNet-152.',
        ]),
  ],
});
