// Owns: how many bytes of tensors a training pass has alive at most: a pass over the plan that allocates and frees as the layers
// do. Refuses to know: TensorFlow, and what else a process needs memory for (memory.ts).

import type { ModelSpec } from './job-spec.js';
import { geometryOf, outputSide } from './layers/window.js';
import { layoutOf } from './parameters.js';
import { planOf } from './resnet.js';
import type { BlockPlan, ConvolutionPlan } from './resnet.js';

const FLOAT32 = 4;
const STEM_POOL = { kernel: 3, stride: 2 } as const;

/** Bytes alive now and at most so far. */
class Meter {
  alive = 0;
  peak = 0;

  take(bytes: number): number {
    this.alive += bytes;
    this.peak = Math.max(this.peak, this.alive);
    return bytes;
  }

  give(bytes: number): void {
    this.alive -= bytes;
  }
}

/** What one convolution unit keeps between forward and backward, and the sizes that its backward works with. */
interface KeptUnit {
  /** The padded or thinned input that the kernel reads; 0 where it reads the borrowed one. */
  readonly ownInput: number;
  readonly input: number;
  readonly convolved: number;
  readonly keepsConvolved: boolean;
  readonly activated: number;
  readonly filter: number;
  readonly explicit: boolean;
  readonly thinned: boolean;
}

interface KeptBlock {
  readonly units: readonly KeptUnit[];
  readonly projection: KeptUnit | undefined;
  readonly shortcut: BlockPlan['shortcut']['kind'];
  readonly input: number;
  readonly output: number;
}

/**
 * Largest number of bytes of tensors alive while a net trains on one shard, its parameters included and the images of a
 * float32 net left out (they lie in the worker's own memory).
 */
export function peakTensorBytes(model: ModelSpec, samples: number, precision: 'float32' | 'bfloat16'): number {
  return new Replay(model, samples, precision).peak();
}

class Replay {
  readonly #meter = new Meter();
  readonly #width: number;

  constructor(
    private readonly model: ModelSpec,
    private readonly samples: number,
    precision: 'float32' | 'bfloat16',
  ) {
    this.#width = precision === 'float32' ? FLOAT32 : 2;
  }

  peak(): number {
    const { model } = this;
    const meter = this.#meter;
    const plan = planOf(model);
    meter.take(this.#parameterBytes());
    let side = model.imageSize;
    if (this.#width !== FLOAT32) meter.take(this.#bytes(side, plan.imageChannels));
    const stem = this.#forwardUnit(plan.stem, side, true);
    side = outputSide(plan.stem.stride, side);
    let channels = plan.stem.outputs;
    let pool: { readonly input: number; readonly padded: number; readonly output: number } | undefined;
    if (plan.stemPool) {
      const padded = this.#paddedBytes(STEM_POOL, side, channels);
      const input = this.#bytes(side, channels);
      side = outputSide(STEM_POOL.stride, side);
      pool = { input, padded: meter.take(padded), output: meter.take(this.#bytes(side, channels)) };
    }
    const blocks: KeptBlock[] = [];
    for (const block of plan.blocks) {
      blocks.push(this.#forwardBlock(block, side));
      side = block.convolutions.reduce((left, { stride }) => outputSide(stride, left), side);
      channels = block.convolutions.at(-1)?.outputs ?? channels;
    }
    // The features widened for their mean; then gradients flow, each as large as what it is the gradient of.
    const features = this.samples * side * side * channels;
    if (this.#width !== FLOAT32) meter.give(meter.take(features * FLOAT32));
    let gradient = meter.take(features * this.#width);
    for (const block of blocks.toReversed()) gradient = this.#backwardBlock(block, gradient);
    if (pool !== undefined) {
      const padded = meter.take(pool.padded > 0 ? pool.padded : pool.input);
      meter.give(gradient + pool.output + pool.padded);
      gradient = padded;
      if (pool.padded > 0) {
        gradient = meter.take(pool.input);
        meter.give(padded);
      }
    }
    this.#backwardUnit(stem, gradient, { keepGradient: false, wantsInput: false });
    return meter.peak;
  }

  #bytes(side: number, channels: number): number {
    return this.samples * side * side * channels * this.#width;
  }

  /** 0 where the kernel pads by itself. */
  #paddedBytes(window: { readonly kernel: number; readonly stride: number }, side: number, channels: number): number {
    const { explicit } = geometryOf(window, side, side);
    if (explicit === undefined) return 0;
    const padded = side + explicit[0][0] + explicit[0][1];
    return this.#bytes(padded, channels);
  }

  /** Filters and biases of convolutions in the net's precision, all else in float32. */
  #parameterBytes(): number {
    const layout = layoutOf(this.model);
    const wide = layout.parameters.filter(
      ({ role, name }) => role !== 'filter' && (role !== 'bias' || name === 'fc.bias'),
    );
    const kept = wide.reduce((sum, { size }) => sum + size, layout.statisticCount);
    const rest = layout.parameterCount + layout.statisticCount - kept;
    return kept * FLOAT32 + rest * this.#width;
  }

  #forwardUnit(plan: ConvolutionPlan, side: number, activated: boolean): KeptUnit {
    const meter = this.#meter;
    const point = plan.kernel === 1;
    const after = outputSide(plan.stride, side);
    const thinned = point && plan.stride > 1;
    const padded = point ? 0 : this.#paddedBytes(plan, side, plan.inputs);
    const ownInput = meter.take(thinned ? this.#bytes(after, plan.inputs) : padded);
    const convolved = meter.take(this.#bytes(after, plan.outputs));
    const shifted = meter.take(convolved);
    const keepsConvolved = plan.norm !== undefined;
    if (!keepsConvolved) meter.give(convolved);
    if (activated) {
      meter.take(convolved);
      meter.give(shifted);
    }
    return {
      ownInput,
      input: this.#bytes(side, plan.inputs),
      convolved,
      keepsConvolved,
      activated: activated ? convolved : 0,
      filter: plan.kernel ** 2 * plan.inputs * plan.outputs * this.#width,
      explicit: padded > 0,
      thinned,
    };
  }

  #forwardBlock({ convolutions, shortcut }: BlockPlan, side: number): KeptBlock {
    const meter = this.#meter;
    const last = convolutions.length - 1;
    const plain = shortcut.kind === 'none';
    let left = side;
    const units = convolutions.map((plan, index) => {
      const unit = this.#forwardUnit(plan, left, index < last || plain);
      left = outputSide(plan.stride, left);
      return unit;
    });
    const input = units[0]?.input ?? 0;
    const output = units[last]?.convolved ?? 0;
    if (plain) return { units, projection: undefined, shortcut: 'none', input, output };
    let projection: KeptUnit | undefined;
    let sideBytes = 0;
    if (shortcut.kind === 'projection') {
      projection = this.#forwardUnit(shortcut.convolution, side, false);
      sideBytes = projection.convolved;
    } else if (shortcut.kind === 'subsample') {
      sideBytes = meter.take(output);
    }
    meter.take(output); // the sum
    meter.give(output + sideBytes); // both addends
    meter.take(output); // activated
    meter.give(output);
    return { units, projection, shortcut: shortcut.kind, input, output };
  }

  /** Consumes the gradient (its bytes) unless told to keep it; returns that of the input. */
  #backwardUnit(unit: KeptUnit, gradient: number, options: { keepGradient: boolean; wantsInput: boolean }): number {
    const meter = this.#meter;
    let owned = !options.keepGradient;
    let current = gradient;
    const replace = (next: number): void => {
      if (owned) meter.give(current);
      current = next;
      owned = true;
    };
    if (unit.activated > 0) {
      replace(meter.take(unit.convolved));
      meter.give(unit.activated);
    }
    if (unit.keepsConvolved) {
      const next = meter.take(unit.convolved);
      meter.give(unit.convolved);
      replace(next);
    }
    meter.give(meter.take(unit.filter));
    let input = 0;
    if (options.wantsInput) {
      input = meter.take(unit.ownInput > 0 ? unit.ownInput : unit.input);
      if (unit.explicit || unit.thinned) {
        const read = input;
        input = meter.take(unit.input);
        meter.give(read);
      }
    }
    if (owned) meter.give(current);
    meter.give(unit.ownInput);
    return input;
  }

  #backwardBlock(block: KeptBlock, gradient: number): number {
    const meter = this.#meter;
    if (block.shortcut === 'none') return this.#mainBackward(block, gradient, false);
    const sum = meter.take(block.output);
    meter.give(gradient + block.output);
    let side = sum;
    if (block.projection !== undefined) {
      side = this.#backwardUnit(block.projection, sum, { keepGradient: true, wantsInput: true });
    } else if (block.shortcut === 'subsample') {
      side = meter.take(block.input);
    }
    const main = this.#mainBackward(block, sum, block.shortcut === 'identity');
    const total = meter.take(block.input);
    meter.give(main + side);
    return total;
  }

  #mainBackward({ units }: KeptBlock, gradient: number, keepGradient: boolean): number {
    let current = gradient;
    for (const [index, unit] of units.toReversed().entries()) {
      current = this.#backwardUnit(unit, current, { keepGradient: keepGradient && index === 0, wantsInput: true });
    }
    return current;
  }
}
