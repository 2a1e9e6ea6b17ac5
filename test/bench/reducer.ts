// What reducing alone takes: two processes push 60 M float32 each, the slices add and update, both pull the new version; and the
// loops over as many elements on one thread. No queue, no computing. Gloo and numpy beside it where a Python with them is named.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { addBfloat16Into, addInto } from '#model/float-arrays.js';
import { sgdRange } from '#model/optimizer.js';
import { VectorMemory } from '#model/simd/vector-memory.js';
import { versionChecksum } from '#proto/blocks.js';
import { clientCredentials } from '#proto/channel.js';
import { Outcome, TaskKind } from '#proto/generated/lockstep/v1/pool.js';
import type { VersionName } from '#proto/generated/lockstep/v1/reducer.js';
import { inBlockOrder } from '../../apps/coordinator/src/training/slices/block-order.js';
import type { PublishedVersion, SliceJob } from '../../apps/coordinator/src/training/slices/messages.js';
import { SlicePool } from '../../apps/coordinator/src/training/slices/slice-pool.js';
import { StateBuffers } from '../../apps/coordinator/src/training/state-buffers.js';
import { SharedFolder } from '../../apps/coordinator/src/shared-folder.js';
import { ParameterCache } from '../../apps/worker/src/parameters.js';
import { Slices } from '../../apps/worker/src/pool-caller.js';
import { GradientPush } from '../../apps/worker/src/push.js';
import { SharedMemory } from '../../apps/worker/src/shared-memory.js';
import { formatted, printTable, progress, quantile } from './table.js';

/** ResNet-152. */
const parameterCount = 60_192_808;
const statisticCount = 1;
const workers = 2;
const warmUp = 2;
const steps = 7;
const layoutHash = 'bench';

interface StepMessage {
  readonly addresses: readonly string[];
  /** What a coordinator tells workers of the memory that they share; undefined: tensors go over the network. */
  readonly sharedMemory: SharedFolder['announcement'] | undefined;
  readonly version: VersionName;
}

async function compare(): Promise<void> {
  const seconds: [name: string, seconds: number][] = [];
  for (const shared of [true, false]) {
    for (const slices of [1, 2]) {
      const name = `${slices} slice${slices > 1 ? 's' : ''}, ${shared ? 'shared memory' : 'gRPC over loopback'}`;
      progress(`${name} …`);
      seconds.push([name, await reduceWith(slices, shared)]);
    }
  }
  const other = await python();
  const ratio = (value: number, reference: number | undefined): string =>
    reference === undefined ? '–' : formatted(value / reference, 2);
  const gloo = other?.allReduceSeconds;
  printTable({
    title: `Reducer: ${formatted(parameterCount / 1e6, 1)} M float32, 2 workers: push, sum, update, pull; no computing`,
    columns: ['', 's', "ratio to gloo's all-reduce"],
    rows: [
      ...seconds.map(([name, value]) => [`Lockstep, ${name}`, formatted(value, 3), ratio(value, gloo)]),
      ...(gloo === undefined ? [] : [['gloo, 2 processes', formatted(gloo, 3), '1.00']]),
    ],
    notes: [`Medians of ${steps} steps after ${warmUp} that warm up; all processes on this machine.`],
  });
  const loops = measureLoops();
  printTable({
    title: `Loops over ${formatted(parameterCount / 1e6, 1)} M elements, one thread`,
    columns: ['', 'ms', "ratio to numpy's add"],
    rows: [
      ...loops.map(([name, value]) => [name, formatted(1000 * value, 0), ratio(value, other?.addSeconds)]),
      ...(other === undefined ? [] : [["numpy's add", formatted(1000 * other.addSeconds, 0), '1.00']]),
    ],
    notes: ['An addition moves 722 MB (numpy: into a third array), SGD with momentum and weight decay 1,204 MB.'],
  });
}

/** Median seconds of a step. */
async function reduceWith(slices: number, shared: boolean): Promise<number> {
  const sharedFolder = shared ? await SharedFolder.make('/dev/shm') : undefined;
  const pool = await SlicePool.start({
    slices,
    firstPort: 0,
    host: '127.0.0.1',
    workerToken: undefined,
    sharedFolder: sharedFolder?.announcement.folder,
    tls: undefined,
  });
  const children = Array.from({ length: workers }, () => fork(import.meta.filename, ['work']));
  for (const child of children) process.once('exit', () => child.kill());
  try {
    const memory = VectorMemory.ofBytes(4 * 10 * parameterCount);
    pool.broadcast({ type: 'open-job', job, memory: memory.memory });
    const counts = { parameters: parameterCount, statistics: statisticCount };
    const buffers = new StateBuffers(counts, memory, (buffer, state) =>
      pool.broadcast({ type: 'add-buffer', jobId: job.jobId, buffer, state }),
    );
    const first = await buffers.spare(undefined);
    const sums = await pool.request({ type: 'checksum', jobId: job.jobId, buffer: first });
    let version = versionOf(0, first, inBlockOrder(sums.values));
    const addresses = pool.ports.map((port) => `127.0.0.1:${port}`);
    const sharedMemory = sharedFolder?.announcement;
    await tellAll(children, { addresses, sharedMemory, version });
    const times: number[] = [];
    for (let step = 0; step < warmUp + steps; step++) {
      const start = performance.now();
      version = await oneStep(pool, buffers, children, { addresses, sharedMemory, version });
      times.push((performance.now() - start) / 1000);
      progress(`  ${formatted(times.at(-1)!, 3)} s`);
    }
    return quantile(times.slice(warmUp), 0.5);
  } finally {
    for (const child of children) child.kill();
    await pool.stop();
    await sharedFolder?.remove();
  }
}

/** From the moment that both workers have their gradient to the moment that both have the next version. */
async function oneStep(
  pool: SlicePool,
  buffers: StateBuffers,
  children: readonly ChildProcess[],
  message: Omit<StepMessage, 'version'> & { readonly version: PublishedVersion },
): Promise<PublishedVersion> {
  const { version } = message;
  const { jobId, lineage, version: step } = version;
  pool.broadcast({ type: 'open-step', step: { jobId, lineage, step, round: 0, tasks: workers, version } });
  pool.broadcast({ type: 'publish', version });
  let whole = 0;
  const summed = new Promise<void>((resolve, reject) => {
    pool.onPush = (slice, report) => {
      if (report.type === 'push-begun') pool.send(slice, { type: 'admit', pushId: report.pushId });
      else if (report.type === 'push-whole') {
        pool.send(slice, { type: 'accept', pushId: report.pushId });
        whole += 1;
        if (whole === workers * pool.count) resolve();
      } else reject(new Error(`A slice reported ${report.type}.`));
    };
  });
  const done = tellAll(children, message);
  await summed;
  await pool.request({ type: 'summarise', jobId });
  const toBuffer = await buffers.spare(version.buffer);
  const update = { jobId, fromBuffer: version.buffer, toBuffer, learningRate: 0.1, gradientScale: 1 };
  const applied = await pool.request({ type: 'apply', update });
  const next = versionOf(step + 1, toBuffer, inBlockOrder(applied.values));
  pool.broadcast({ type: 'publish', version: next });
  await done;
  return next;
}

const job: SliceJob = {
  ...{ jobId: 'bench', layoutHash, parameterCount, statisticCount, wire: 'float32', exactRanges: undefined },
  ...{ momentum: 0.9, nesterov: false, tensors: [] },
  decayRanges: [{ from: 0, to: parameterCount, weightDecay: 1e-4 }],
  layers: [{ name: 'all', offset: 0, size: parameterCount }],
};

function versionOf(version: number, buffer: number, blockChecksums: number[]): PublishedVersion {
  return { jobId: job.jobId, lineage: 0, version, buffer, checksum: versionChecksum(blockChecksums) };
}

/** Resolves when every worker has answered. */
async function tellAll(children: readonly ChildProcess[], message: StepMessage): Promise<void> {
  await Promise.all(
    children.map(
      (child, task) =>
        new Promise<void>((resolve, reject) => {
          const onExit = (): void => reject(new Error('A worker of this benchmark ended.'));
          child.once('exit', onExit);
          child.once('message', () => {
            child.off('exit', onExit);
            resolve();
          });
          child.send({ ...message, task });
        }),
    ),
  );
}

/** A worker: pushes its gradient and pulls the version after; at the first message it only opens its channels. */
function work(): void {
  const gradient = new Float32Array(new SharedArrayBuffer(4 * parameterCount)).fill(1e-3);
  const statistics = new Float32Array(new SharedArrayBuffer(4 * statisticCount));
  let slices: Slices | undefined;
  let parameters: ParameterCache | undefined;
  process.on('message', (message: StepMessage & { readonly task: number }) => void answer(message));
  process.on('disconnect', () => process.exit());

  async function answer({
    addresses,
    sharedMemory,
    version,
    task,
  }: StepMessage & { readonly task: number }): Promise<void> {
    if (slices === undefined) {
      const memory = SharedMemory.find({ sharedMemory, workerId: `w${task}` });
      if (sharedMemory !== undefined && memory === undefined) throw new Error('The shared memory is not found.');
      slices = new Slices(addresses, { credentials: clientCredentials(), token: undefined }, memory);
      parameters = new ParameterCache(slices, pino({ level: 'silent' }));
      process.send?.('ready');
      return;
    }
    const { jobId, lineage, version: step } = version;
    const key = { jobId, lineage, step, round: 0, task, kind: TaskKind.TRAIN };
    const { signal } = new AbortController();
    const contribution = { workerId: `w${task}`, key, attempt: 1, version, layoutHash };
    const push = new GradientPush(slices, { contribution, gradient, statistics, task: `task ${task}`, signal });
    push.finish({
      ...{ samples: 1, sampleIdsSha256: new Uint8Array(32), lossSum: 0, top1Hits: 0, top5Hits: 0, computeSeconds: 0 },
      ...{ forwardSeconds: 0, imagesSeconds: 0, pullSeconds: 0, pullWaitSeconds: 0 },
    });
    const request = { jobId, lineage, version: step + 1, layoutHash, parameterCount, statisticCount };
    const [{ outcome, detail }, lease] = await Promise.all([
      push.answer,
      parameters!.acquire({ ...request, exactCount: undefined }, signal),
    ]);
    if (outcome !== Outcome.ACCEPTED) throw new Error(`A push was refused: ${detail}`);
    await lease.whole;
    lease.release();
    process.send?.('done');
  }
}

/** Median seconds of each loop, on vectors in a memory of vectors, as a slice has them. */
function measureLoops(): [name: string, seconds: number][] {
  const memory = VectorMemory.ofBytes(4 * 6 * parameterCount);
  const vector = (): Float32Array => memory.float32(parameterCount)!.fill(1e-3);
  const [parameters, momentum, gradient, outParameters, outMomentum] = Array.from({ length: 5 }, vector) as [
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const bits = memory.uint16(parameterCount)!.fill(0x3a83);
  const range = { from: 0, to: parameterCount, learningRate: 0.1, momentumFactor: 0.9, nesterov: false };
  const update = { parameters, momentum, gradient, outParameters, outMomentum, ...range, scale: 1, weightDecay: 1e-4 };
  const loops: [string, () => unknown][] = [
    ['add', () => addInto(gradient, momentum)],
    ['add of bfloat16', () => addBfloat16Into(gradient, bits)],
    ['SGD', () => sgdRange(update)],
  ];
  return loops.map(([name, run]) => {
    const times = Array.from({ length: warmUp + steps }, () => {
      const start = performance.now();
      run();
      return (performance.now() - start) / 1000;
    });
    return [name, quantile(times.slice(warmUp), 0.5)];
  });
}

/** Gloo and numpy; undefined without a Python. */
async function python(): Promise<{ allReduceSeconds: number; addSeconds: number } | undefined> {
  const program = process.env['LOCKSTEP_PARITY_PYTHON'];
  if (program === undefined || program === '') return undefined;
  // Compiled files lie under dist/, the script beside the sources.
  const script = fileURLToPath(new URL('../../../test/bench/gloo_allreduce.py', import.meta.url));
  const args = [script, '--elements', String(parameterCount), '--steps', String(steps), '--warm-up', String(warmUp)];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ${script} ended with exit code ${code}.`);
  return JSON.parse(text) as { allReduceSeconds: number; addSeconds: number };
}

if (process.argv[2] === 'work') work();
else await compare();
