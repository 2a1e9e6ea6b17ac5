// Owns: how many bytes of tensors a training pass has alive at most: a pass over the plan that allocates and frees as the layers
// do. Refuses to know: TensorFlow, and what else a process needs memory for (memory.ts).

import type { ModelSpec } from './job-spec.js';
import { geometryOf, outputSide } from './layers/window.js';
import { layoutOf } from './parameters.js';
import { isFrugal, planOf } from './resnet.js';
import type { BlockPlan, ConvolutionPlan, NetworkPlan } from './resnet.js';

const FLOAT32 = 4;

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
  /** The padded or thinned input that a kernel reads while it runs; 0 where it reads the borrowed one. */
  readonly ownInput: number;
  readonly input: number;
  readonly convolved: number;
  readonly keepsConvolved: boolean;
  /** The output, where it is the unit's own: that of an activation. */
  readonly activated: number;
  /** Whether that is freed when the next layer has read it, and made again for its backward. */
  readonly again: boolean;
  readonly hadResidual: boolean;
  readonly filter: number;
  readonly explicit: boolean;
  readonly thinned: boolean;
}

interface KeptBlock {
  readonly units: readonly KeptUnit[];
  readonly projection: KeptUnit | undefined;
  readonly shortcut: BlockPlan['shortcut']['kind'];
  readonly input: number;
}

/** Bytes of a gradient that is a sum of two; 0 where it is one. */
interface SplitBytes {
  readonly main: number;
  readonly addend: number;
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
  readonly #plan: NetworkPlan;

  constructor(
    private readonly model: ModelSpec,
    private readonly samples: number,
    precision: 'float32' | 'bfloat16',
  ) {
    this.#width = precision === 'float32' ? FLOAT32 : 2;
    this.#plan = planOf(model);
  }

  peak(): number {
    const { model } = this;
    const meter = this.#meter;
    const plan = this.#plan;
    meter.take(this.#parameterBytes());
    let side = model.imageSize;
    if (this.#width !== FLOAT32) meter.take(this.#bytes(side, plan.imageChannels));
    const stem = this.#forwardUnit(plan.stem, side, { activated: true, hadResidual: false });
    let maker: KeptUnit | undefined = stem;
    side = outputSide(plan.stem.stride, side);
    let channels = plan.stem.outputs;
    let pool: { readonly input: number; readonly output: number; readonly places: number } | undefined;
    if (plan.stemPool) {
      const input = this.#bytes(side, channels);
      side = outputSide(2, side);
      const output = meter.take(this.#bytes(side, channels));
      pool = { input, output, places: meter.take(output / this.#width) };
      this.#giveBack(maker);
      maker = undefined;
    }
    const blocks: KeptBlock[] = [];
    for (const block of plan.blocks) {
      const kept = this.#forwardBlock(block, side);
      this.#giveBack(maker);
      maker = kept.units.at(-1);
      blocks.push(kept);
      side = block.convolutions.reduce((left, { stride }) => outputSide(stride, left), side);
      channels = block.convolutions.at(-1)?.outputs ?? channels;
    }
    // The features widened for their mean; then gradients flow, each as large as what it is the gradient of.
    const features = this.samples * side * side * channels;
    if (this.#width !== FLOAT32) meter.give(meter.take(features * FLOAT32));
    this.#giveBack(maker);
    let gradient: SplitBytes = { main: meter.take(features * this.#width), addend: 0 };
    for (const [index, block] of [...blocks.entries()].toReversed()) {
      const source = blocks[index - 1]?.units.at(-1) ?? (pool === undefined ? stem : undefined);
      gradient = this.#backwardBlock(block, source, gradient);
    }
    if (pool !== undefined) {
      meter.take(pool.input);
      meter.give(gradient.main + gradient.addend + pool.output + pool.places);
      gradient = { main: pool.input, addend: 0 };
    }
    this.#beginBackward(stem, gradient);
    this.#endBackward(stem, undefined, false);
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

  #forwardUnit(
    plan: ConvolutionPlan,
    side: number,
    { activated, hadResidual }: { activated: boolean; hadResidual: boolean },
  ): KeptUnit {
    const meter = this.#meter;
    const point = plan.kernel === 1;
    const after = outputSide(plan.stride, side);
    const thinned = point && plan.stride > 1;
    const padded = point ? 0 : this.#paddedBytes(plan, side, plan.inputs);
    const ownInput = meter.take(thinned ? this.#bytes(after, plan.inputs) : padded);
    const convolved = meter.take(this.#bytes(after, plan.outputs));
    meter.give(ownInput);
    const output = meter.take(convolved);
    const keepsConvolved = plan.norm !== undefined;
    if (!keepsConvolved) meter.give(convolved);
    // Batch norm adds and rectifies in one; what comes after it in a pass of its own has an output of its own.
    if (activated && !this.#fuses(keepsConvolved)) meter.give(meter.take(output));
    return {
      ownInput,
      input: this.#bytes(side, plan.inputs),
      convolved,
      keepsConvolved,
      activated: activated ? output : 0,
      again: isFrugal(this.#plan) && activated && !hadResidual && this.#fuses(keepsConvolved),
      hadResidual,
      filter: plan.kernel ** 2 * plan.inputs * plan.outputs * this.#width,
      explicit: padded > 0,
      thinned,
    };
  }

  #fuses(normalised: boolean): boolean {
    return normalised && this.model.activation === 'relu';
  }

  #forwardBlock({ convolutions, shortcut }: BlockPlan, side: number): KeptBlock {
    const meter = this.#meter;
    const plain = shortcut.kind === 'none';
    let projection: KeptUnit | undefined;
    let sideBytes = 0;
    let left = side;
    let maker: KeptUnit | undefined;
    const units = convolutions.map((plan, index) => {
      const last = index === convolutions.length - 1;
      if (last && shortcut.kind === 'projection') {
        projection = this.#forwardUnit(shortcut.convolution, side, { activated: false, hadResidual: false });
        sideBytes = projection.convolved;
      } else if (last && shortcut.kind === 'subsample') {
        sideBytes = meter.take(this.#bytes(outputSide(plan.stride, left), plan.outputs));
      }
      const unit = this.#forwardUnit(plan, left, { activated: true, hadResidual: last && !plain });
      left = outputSide(plan.stride, left);
      this.#giveBack(maker);
      maker = unit;
      return unit;
    });
    meter.give(sideBytes);
    return { units, projection, shortcut: shortcut.kind, input: units[0]?.input ?? 0 };
  }

  #giveBack(unit: KeptUnit | undefined): void {
    if (unit?.again === true) this.#meter.give(unit.activated);
  }

  /** As far as the convolution's output, whose gradient is `convolved` bytes then; returns those of the residual's. */
  #beginBackward(unit: KeptUnit, gradient: SplitBytes): number {
    const meter = this.#meter;
    if (unit.activated > 0 && !this.#fuses(unit.keepsConvolved)) {
      meter.take(unit.convolved);
      meter.give(gradient.main);
    }
    // Batch norm works in the gradient's own memory, unless a residual wants that; without batch norm the two share it.
    const residual = unit.hadResidual && unit.keepsConvolved ? meter.take(unit.convolved) : 0;
    meter.give(gradient.addend + (unit.again ? 0 : unit.activated) + (unit.keepsConvolved ? unit.convolved : 0));
    return residual;
  }

  /** Consumes the gradient of the convolution's output; returns the bytes of the input's. @param source whose output it read */
  #endBackward(unit: KeptUnit, source: KeptUnit | undefined, wantsInput: boolean): number {
    const meter = this.#meter;
    if (source?.again === true) meter.take(source.activated);
    meter.give(meter.take(unit.ownInput) + meter.take(unit.filter));
    this.#giveBack(source);
    let input = 0;
    if (wantsInput) {
      input = meter.take(unit.ownInput > 0 ? unit.ownInput : unit.input);
      if (unit.explicit || unit.thinned) {
        const read = input;
        input = meter.take(unit.input);
        meter.give(read);
      }
    }
    meter.give(unit.convolved);
    return input;
  }

  /** @param source whose output the block read */
  #backwardBlock(
    { units, projection, shortcut, input }: KeptBlock,
    source: KeptUnit | undefined,
    gradient: SplitBytes,
  ): SplitBytes {
    const meter = this.#meter;
    const [last, ...inner] = units.toReversed() as [KeptUnit, ...KeptUnit[]];
    const shared = this.#beginBackward(last, gradient);
    let addend = shared;
    if (projection !== undefined) {
      this.#beginBackward(projection, { main: shared, addend: 0 });
      addend = this.#endBackward(projection, source, true);
    } else if (shortcut === 'subsample') {
      addend = meter.take(input);
      meter.give(shared);
    }
    let main = this.#endBackward(last, inner[0] ?? source, true);
    for (const [index, unit] of inner.entries()) {
      this.#beginBackward(unit, { main, addend: 0 });
      main = this.#endBackward(unit, inner[index + 1] ?? source, true);
    }
    return { main, addend };
  }
}
