// A process that computes tasks of one net on whatever device TensorFlow finds, and tells its parent what came out.
// Refuses to judge: checks.ts compares. Its environment decides on the device (CUDA_VISIBLE_DEVICES) and the kernels.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { ModelSpec } from '#model/job-spec.js';
import { Network } from '#model/network.js';
import { initialState } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { computeTask } from '#model/task-computation.js';
import { tensorFlowIdentity } from '#model/tensorflow/addon.js';
import { liveTensors } from '#model/tensorflow/tensor.js';

/** What to compute; the only message from the parent. */
export interface ProbeOrder {
  readonly model: ModelSpec;
  readonly precision: 'float32' | 'bfloat16';
  readonly batch: number;
  readonly tasks: number;
  readonly readLag: number;
  /** Where to write the last task's gradient, float32. */
  readonly gradientFile?: string;
  /** Checks the gradient against the loss at both sides of the parameters along it. */
  readonly slope?: boolean;
}

export interface ProbeAnswer {
  readonly tensorflow: string;
  readonly device: 'gpu' | 'cpu';
  readonly seconds: readonly number[];
  /** SHA-256 of each task's gradient and statistics: all tasks are the same. */
  readonly hashes: readonly string[];
  readonly loss: number;
  /** After each task. */
  readonly residentBytes: readonly number[];
  readonly liveTensors: readonly number[];
  /** Measured slope of the loss along the gradient, over its length: 1 where the gradient is right. */
  readonly slopeRatio?: number;
}

process.once('message', (order: ProbeOrder) => {
  process.send!(compute(order), () => process.disconnect());
});
process.once('disconnect', () => process.exit());

function compute(order: ProbeOrder): ProbeAnswer {
  const { model, precision, batch, tasks, readLag } = order;
  const { version, device } = tensorFlowIdentity();
  const network = Network.create(model, precision);
  const { layout } = network;
  const { parameters, statistics } = initialState(model, layout, 1);
  const random = randomStream(1, 'device');
  const shard = {
    images: Float32Array.from({ length: batch * model.imageSize ** 2 * 3 }, () => random.normal()),
    labels: Int32Array.from({ length: batch }, () => random.below(model.classes)),
  };
  const gradient = new Float32Array(layout.parameterCount);
  const batchStatistics = new Float32Array(layout.statisticCount);
  const target = { gradient, statistics: batchStatistics, onProgress: () => undefined, readLag };
  const task = (at: Float32Array): number => {
    network.loadParameters(at, statistics);
    return computeTask(network, [shard], batch, target).lossSum / batch;
  };
  const seconds: number[] = [];
  const hashes: string[] = [];
  const residentBytes: number[] = [];
  const tensors: number[] = [];
  let loss = Number.NaN;
  for (let index = 0; index < tasks; index += 1) {
    const start = performance.now();
    loss = task(parameters);
    seconds.push((performance.now() - start) / 1000);
    hashes.push(createHash('sha256').update(gradient).update(batchStatistics).digest('hex'));
    residentBytes.push(process.memoryUsage.rss());
    tensors.push(liveTensors());
  }
  if (order.gradientFile !== undefined) writeFileSync(order.gradientFile, gradient);
  const found = { tensorflow: version, device, seconds, hashes, loss, residentBytes, liveTensors: tensors };
  return order.slope === true ? { ...found, slopeRatio: slopeRatio(parameters, gradient, task) } : found;
}

/** (L(p + e g/|g|) - L(p - e g/|g|)) / 2e over |g|, with a step long enough for the loss's last bits not to matter. */
function slopeRatio(parameters: Float32Array, own: Float32Array, task: (at: Float32Array) => number): number {
  const gradient = own.slice();
  const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
  const step = 2e-3;
  const at = (distance: number): number =>
    task(parameters.map((value, index) => value + (distance * gradient[index]!) / norm));
  return (at(step) - at(-step)) / (2 * step) / norm;
}
