// What coordination costs: the whole system as `lockstep up` starts it trains ResNet-20 on CIFAR-10, batch 128 in two tasks
// of 64; a step's time minus its slower task's computing is what queue, claims, gRPC, sums, update and ledger take.
// Refuses to take part: the numbers are the job's own metrics. PyTorch's DDP beside it where a Python with it is named.
import { LocalSystem } from './local-system.js';
import { pytorch } from './pytorch.js';
import { formatted, printTable, progress, quantile } from './table.js';

const steps = 200;
/** The first steps find cold caches and look-ahead that has not begun. */
const warmUp = 40;
const batchSize = 128;

const precisions = ['bfloat16', 'float32'] as const;
type Precision = (typeof precisions)[number];

interface Row {
  readonly imagesPerSecond: number;
  readonly stepMs: number;
  /** Median and 95th percentile of the step's time beyond computing; none where there is no such measure. */
  readonly beyondMs?: readonly [number, number];
}

async function train(workers: number, precision: Precision): Promise<Row> {
  const system = await LocalSystem.start(workers);
  try {
    const job = await system.train({
      name: `coordination-${precision}`,
      preset: 'resnet20-cifar10-demo',
      training: { steps, batchSize, shardSize: 64, shardsPerTask: 1, precision },
      evaluation: { everyEpochs: 0 },
    });
    const series = await system.metrics(job.id, ['step/seconds', 'step/compute_seconds']);
    const whole = series['step/seconds']!.slice(warmUp);
    const computing = series['step/compute_seconds']!.slice(warmUp);
    if (whole.length !== steps - warmUp || computing.length !== whole.length) {
      throw new Error(`The job has times of ${whole.length} steps instead of ${steps - warmUp}.`);
    }
    const row = {
      imagesPerSecond: (batchSize * whole.length) / whole.reduce((sum, seconds) => sum + seconds, 0),
      stepMs: 1000 * quantile(whole, 0.5),
    };
    // One worker computes both tasks in turn, so that the slower one's time says nothing about the rest.
    if (workers < 2) return row;
    const beyond = whole.map((seconds, index) => 1000 * (seconds - computing[index]!));
    return { ...row, beyondMs: [quantile(beyond, 0.5), quantile(beyond, 0.95)] };
  } finally {
    await system.stop();
  }
}

/** Two processes of PyTorch's DDP with one thread each, random images that lie in memory; undefined without a Python. */
function ddp(precision: Precision): Promise<Row | undefined> {
  const args = ['--precision', precision, '--steps', String(steps - warmUp), '--warm-up', String(warmUp)];
  return pytorch<Row>('pytorch_ddp.py', args);
}

const rows: string[][] = [];
for (const precision of precisions) {
  const note = (name: string, row: Row): void => {
    rows.push([
      `${name}, ${precision}`,
      formatted(row.imagesPerSecond, 0),
      formatted(row.stepMs, 1),
      row.beyondMs === undefined ? '–' : formatted(row.beyondMs[0], 1),
      row.beyondMs === undefined ? '–' : formatted(row.beyondMs[1], 1),
    ]);
  };
  for (const workers of [1, 2]) {
    const name = `Lockstep, ${workers} worker${workers > 1 ? 's' : ''}`;
    progress(`${name}, ${precision}: ${steps} steps …`);
    note(name, await train(workers, precision));
  }
  const other = await ddp(precision);
  if (other !== undefined) note('PyTorch DDP (gloo), 2 processes', other);
}
printTable({
  title: 'Coordination: ResNet-20 on CIFAR-10, batch 128 in two tasks of 64, one TensorFlow thread per worker',
  columns: ['', 'images/s', 'median step, ms', 'beyond computing, ms: median', '95 %'],
  rows,
  notes: [
    `Steps ${warmUp + 1} to ${steps} of a job; images/s over all of them. "Beyond computing" is a step's time minus that of its ` +
      'slower task: waiting for the queue and claims, moving parameters and gradients, summing, updating, the ledger.',
  ],
});
