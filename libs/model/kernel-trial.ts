// Owns: finding out which kernel is the quicker one for each 1x1 convolution of a net, on the thread and device it runs on.
// Refuses to know: who asks, what becomes of the table, and what kernels compute.

import type { ModelSpec } from './job-spec.js';
import { fixedKernels, fixedRule, kernelKey, pointwisePasses, pointwiseShapes } from './kernel-table.js';
import type { KernelTable, PointwiseKernel, PointwisePass, PointwiseShape } from './kernel-table.js';
import { pointwise, pointwiseFilterGradient, pointwiseInputGradient } from './layers/pointwise.js';
import type { Precision } from './network.js';
import { randomStream } from './random.js';
import { addon } from './tensorflow/addon.js';
import { cast, reshape, slice } from './tensorflow/kernels.js';
import { disposeOnError, Tensor } from './tensorflow/tensor.js';

export interface TrialJob {
  readonly model: ModelSpec;
  readonly shardSize: number;
  readonly precision: Precision;
}

export interface TrialOptions {
  /** Time for all shapes together, milliseconds; what it does not suffice for goes by the fixed rule. @default 3,000 */
  readonly budgetMs?: number;
  /** Milliseconds. @default performance.now */
  readonly now?: () => number;
}

/** How long each kernel took, one after the other; milliseconds. */
export type TimedPair = Readonly<Record<PointwiseKernel, number>>;

/** Calls a kernel once; the result is the caller's. */
type Run = (kernel: PointwiseKernel) => Tensor;

const usualBudgetMs = 3000;
/** Below this share of the usual kernel's time another one is clearly quicker. */
const clearlyQuicker = 0.97;
/** In so many of the pairs at least it has to be. */
const convincingShare = 0.75;
const pairsWanted = 7;
const pairsNeeded = 3;
/** Calls of a kernel that a shape's three passes take at least: two to prepare, then pairs, and some to spare. */
const runsNeeded = pointwisePasses.length * 2 * (pairsNeeded + 3);
/** Quick kernels are timed several at a time: the clock and, on a GPU, waiting for the device must not weigh. */
const burstMs = 1;
const longestBurst = 16;
/** Odd, so that rows of images differ although numbers repeat. */
const numbersDrawn = 65_537;

/**
 * Tries both kernels on random numbers for each shape and pass of a net, and leaves the fixed rule where the other one is clearly
 * quicker. As many images at once as a shard has, or as many as the time suffices for.
 */
export function tryKernels({ model, shardSize, precision }: TrialJob, options: TrialOptions = {}): KernelTable {
  const { budgetMs = usualBudgetMs, now = () => performance.now() } = options;
  const shapes = pointwiseShapes(model);
  // The device's libraries load with their first kernels, which takes seconds on a GPU.
  for (const shape of shapes.slice(0, 1)) new Trial(shape, 1, precision, now).forwardMs();
  const end = now() + budgetMs;
  const table: Record<string, Record<PointwisePass, PointwiseKernel>> = {};
  for (const [index, shape] of shapes.entries()) {
    // What one shape leaves of its share the others have.
    const share = (): number => (end - now()) / (shapes.length - index);
    table[kernelKey(shape)] = share() > 0 ? choose(shape, share) : fixedKernels(shape);
  }
  return table;

  function choose(shape: PointwiseShape, share: () => number): Record<PointwisePass, PointwiseKernel> {
    const oneImageMs = new Trial(shape, 1, precision, now).forwardMs();
    const affordable = Math.floor(share() / (runsNeeded * Math.max(oneImageMs, Number.EPSILON)));
    return new Trial(shape, Math.max(1, Math.min(shardSize, affordable)), precision, now).choose(share());
  }
}

/**
 * The kernel that pairs of timings speak for: another than the usual one only where it is clearly quicker, as most differ by less
 * than a busy machine's timings do.
 */
export function quickerKernel(pairs: readonly TimedPair[], usual: PointwiseKernel): PointwiseKernel {
  if (pairs.length < pairsNeeded) return usual;
  const other = usual === 'product' ? 'convolution' : 'product';
  // Of each pair by itself: a machine that is busy for a while slows both.
  const ratios = pairs.map((pair) => pair[other] / pair[usual]).toSorted((a, b) => a - b);
  return ratios[Math.floor(convincingShare * ratios.length)]! < clearlyQuicker ? other : usual;
}

/** Both kernels on one shape. */
class Trial {
  constructor(
    private readonly shape: PointwiseShape,
    private readonly images: number,
    private readonly precision: Precision,
    private readonly now: () => number,
  ) {}

  /** How long the convolution's forward takes once it is prepared. */
  forwardMs(): number {
    return this.#withRuns(({ forward }) => {
      this.#time(forward, 'convolution', 1);
      return this.#time(forward, 'convolution', 1);
    });
  }

  /** @param share time for all passes together, milliseconds */
  choose(share: number): Record<PointwisePass, PointwiseKernel> {
    const start = this.now();
    return this.#withRuns((runs) => {
      const choices = pointwisePasses.map((pass, index) => {
        const end = start + (share * (index + 1)) / pointwisePasses.length;
        return [pass, quickerKernel(this.#pairs(runs[pass], end), fixedRule(pass, this.shape))] as const;
      });
      return Object.fromEntries(choices) as Record<PointwisePass, PointwiseKernel>;
    });
  }

  #withRuns<Result>(use: (runs: Record<PointwisePass, Run>) => Result): Result {
    const { images, precision } = this;
    const { pixels, inputs, outputs } = this.shape;
    return disposeOnError(() => {
      const x = randomTensor([images, pixels, 1, inputs], precision);
      const gradient = randomTensor([images, pixels, 1, outputs], precision);
      const filter = randomTensor([1, 1, inputs, outputs], precision);
      const result = use({
        forward: (kernel) => pointwise(x, filter, () => kernel),
        inputGradient: (kernel) => pointwiseInputGradient(gradient, filter, x.shape, () => kernel),
        filterGradient: (kernel) => pointwiseFilterGradient(x, gradient, filter.shape, () => kernel),
      });
      for (const tensor of [x, gradient, filter]) tensor.dispose();
      return result;
    });
  }

  #pairs(run: Run, end: number): TimedPair[] {
    // Kernels prepare themselves when they first meet a shape.
    this.#time(run, 'convolution', 1);
    this.#time(run, 'product', 1);
    const pairs: TimedPair[] = [];
    let burst = 1;
    for (let count = 0; pairs.length < pairsWanted && this.now() < end; count++) {
      // Whoever comes second finds the inputs in the cache: each does in turn.
      const first = count % 2 === 0 ? this.#time(run, 'convolution', burst) : undefined;
      const product = this.#time(run, 'product', burst);
      const convolution = first ?? this.#time(run, 'convolution', burst);
      if (count > 0) pairs.push({ convolution, product });
      else burst = Math.max(1, Math.min(longestBurst, Math.round(burstMs / Math.max(convolution, Number.EPSILON))));
    }
    return pairs;
  }

  /** Milliseconds of one of so many calls. */
  #time(run: Run, kernel: PointwiseKernel, calls: number): number {
    const start = this.now();
    for (let left = calls; left > 1; left--) run(kernel).dispose();
    finish(run(kernel));
    return (this.now() - start) / calls;
  }
}

/** Frees a result that is there: on a GPU kernels are only queued until somebody reads. */
function finish(result: Tensor): void {
  if (addon().isUsingGpuDevice()) {
    const flat = reshape(result, [result.size]);
    const one = slice(flat, [0], [1]);
    const wide = cast(one, 'float32');
    wide.readFloat32();
    for (const tensor of [flat, one, wide]) tensor.dispose();
  }
  result.dispose();
}

function randomTensor(shape: readonly number[], precision: Precision): Tensor {
  const random = randomStream(1, 'kernel trial');
  const size = shape.reduce((product, side) => product * side, 1);
  const numbers = new Float32Array(size);
  const drawn = Math.min(size, numbersDrawn);
  for (let index = 0; index < drawn; index++) numbers[index] = 2 * random.uniform() - 1;
  for (let filled = drawn; filled < size; filled *= 2) numbers.copyWithin(filled, 0, filled);
  const exact = Tensor.of(numbers, shape);
  if (precision === 'float32') return exact;
  const rounded = cast(exact, 'bfloat16');
  exact.dispose();
  return rounded;
}
