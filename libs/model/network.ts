// Owns: a whole net on the device: its layers in order, a training pass over one shard, evaluation.
// Refuses to know: mini-batches, tasks, trees, optimizers and how gradients travel.

import { DeviceParameters } from './device-parameters.js';
import type { ModelSpec } from './job-spec.js';
import { ruleOf } from './kernel-table.js';
import type { KernelTable } from './kernel-table.js';
import { isNotNegative } from './layers/activation.js';
import { Block } from './layers/block.js';
import { ConvolutionUnit } from './layers/convolution-unit.js';
import { dense, denseGradients } from './layers/dense.js';
import { crossEntropy } from './layers/loss.js';
import type { LossResult } from './layers/loss.js';
import { StemMaxPool } from './layers/max-pool.js';
import { globalAverage, globalAverageGradient } from './layers/pooling.js';
import type { Lent } from './layers/lent.js';
import { emit } from './layers/sink.js';
import type { GradientSink } from './layers/sink.js';
import { whole } from './layers/split-gradient.js';
import type { ParameterVectors } from './parameter-forms.js';
import { layoutOf } from './parameters.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { timed } from './pass-times.js';
import { isFrugal, planOf } from './resnet.js';
import type { NetworkPlan } from './resnet.js';
import { cast } from './tensorflow/kernels.js';
import { disposeOnError, Tensor } from './tensorflow/tensor.js';

export type { GradientSink } from './layers/sink.js';
export type { LossResult } from './layers/loss.js';

/** bfloat16: convolutions and activations; parameters, batch-norm statistics, dense layer, loss and sums stay float32. */
export type Precision = 'float32' | 'bfloat16';

export interface NetworkOptions {
  /** Share of each target that is spread evenly over all classes. @default 0 */
  readonly labelSmoothing?: number;
  /** Which kernels serve its 1x1 convolutions. @default the fixed rule */
  readonly kernels?: KernelTable | undefined;
}

/** An evaluated batch, with the scores [n, classes] that decided: logits, or probabilities where several were averaged. */
export interface EvaluatedBatch extends LossResult {
  readonly scores: Float32Array;
}

/** Sides of images that are not square. */
export interface ImageSides {
  readonly height: number;
  readonly width: number;
}

/** What a forward pass leaves outside the layers. */
interface Forward {
  /** The images on the device; in evaluation freed already. */
  readonly input: Tensor;
  readonly featureShape: readonly number[];
  /** [n, features] in float32: what the dense layer read. */
  readonly average: Tensor;
  readonly logits: Tensor;
}

/** One net, one pass at a time: forward leaves in the layers what backward takes out again. Not for two threads. */
export class Network {
  readonly layout: ParameterLayout;
  readonly #plan: NetworkPlan;
  readonly #labelSmoothing: number;
  readonly #parameters: DeviceParameters;
  readonly #stem: ConvolutionUnit;
  readonly #stemPool: StemMaxPool | undefined;
  readonly #blocks: readonly Block[];
  readonly #denseWeight: TensorEntry;
  readonly #denseBias: TensorEntry;

  /** @throws RangeError for an unknown architecture. @throws TensorFlowUnavailableError on the first load. */
  static create(model: ModelSpec, precision: Precision, options: NetworkOptions = {}): Network {
    return new Network(model, precision, options);
  }

  private constructor(
    model: ModelSpec,
    readonly precision: Precision,
    { labelSmoothing = 0, kernels }: NetworkOptions,
  ) {
    this.#labelSmoothing = labelSmoothing;
    const rule = ruleOf(kernels);
    const plan = planOf(model);
    this.#plan = plan;
    this.layout = layoutOf(model);
    const denseNames = [`${plan.dense.name}.weight`, `${plan.dense.name}.bias`];
    this.#parameters = new DeviceParameters(this.layout, precision);
    this.#stem = new ConvolutionUnit(plan.stem, model.activation, this.#parameters, rule);
    this.#stemPool = plan.stemPool ? new StemMaxPool(isNotNegative(model.activation)) : undefined;
    this.#blocks = plan.blocks.map(
      (block) => new Block(block, model.activation, this.#parameters, rule, isFrugal(plan)),
    );
    [this.#denseWeight, this.#denseBias] = denseNames.map((name) => this.#parameters.entry(name)) as [
      TensorEntry,
      TensorEntry,
    ];
  }

  /** Copies both flat vectors to the device; in bfloat16 filters are rounded here, once. */
  loadParameters(parameters: Float32Array, statistics: Float32Array): void {
    timed('load', () => this.#parameters.load(parameters, statistics));
  }

  /**
   * Takes a version that may still arrive: each part when a layer first asks for it. What is on the device already stays; for
   * another version, `dispose` first. The vectors must not change before that either: kernels may read them where they lie.
   */
  lendParameters(vectors: ParameterVectors): void {
    this.#parameters.lend(vectors);
  }

  /**
   * Forward and backward over one shard, with the shard's own batch-norm statistics.
   * @param images [n, h, w, 3] in the layout of the net's input, normalised; may lie in shared memory
   * @param labels n class numbers
   * @param scale the gradient is that of (sum of the samples' losses) * scale
   * @throws RangeError on lengths that do not fit, KernelError when TensorFlow refuses; either leaves no tensor behind
   */
  trainShard(images: Float32Array, labels: Int32Array, scale: number, sink: GradientSink): LossResult {
    return disposeOnError(() => {
      const forward = timed('forward', () => this.#forward(images, labels.length, true));
      const { result, gradient } = crossEntropy(forward.logits, labels, this.#labelSmoothing, scale);
      forward.logits.dispose();
      timed('backward', () => this.#backward(gradient as Tensor, forward, sink));
      return result;
    });
  }

  /**
   * Forward with running statistics, and the plain loss without smoothing, so that figures of different trainings compare.
   * The sums are over all the images given: keep batches small enough for memory.
   */
  evaluate(images: Float32Array, labels: Int32Array): EvaluatedBatch {
    return disposeOnError(() => {
      const { logits, average } = timed('forward', () => this.#forward(images, labels.length, false));
      average.dispose();
      const { result } = crossEntropy(logits, labels, 0, undefined);
      const scores = logits.readFloat32();
      logits.dispose();
      return { ...result, scores };
    });
  }

  /**
   * The logits [n, classes] of `count` images with running statistics. Of larger images than in training they are the mean
   * over all places, as the net is fully convolutional up to its average.
   * @param sides where the images are not square
   */
  predict(images: Float32Array, count: number, sides?: ImageSides): Float32Array {
    return disposeOnError(() => {
      const { logits, average } = this.#forward(images, count, false, sides);
      average.dispose();
      const values = logits.readFloat32();
      logits.dispose();
      return values;
    });
  }

  /** Frees all device memory; the net can be used again after another `loadParameters` or `lendParameters`. */
  dispose(): void {
    this.#parameters.dispose();
  }

  /** In training every layer keeps what its backward needs and cannot make again; in evaluation each input is freed once it has been read. */
  #forward(images: Float32Array, count: number, training: boolean, sides?: ImageSides): Forward {
    const input = this.#upload(images, count, sides ?? this.#squareSides(images, count));
    let x = input;
    let maker: Lent | undefined;
    const advance = (next: Tensor, by: Lent): void => {
      if (!training) x.dispose();
      else if (isFrugal(this.#plan)) maker?.giveBack();
      x = next;
      maker = by;
    };
    advance(
      timed('stem', () => this.#stem.forward(x, training)),
      this.#stem,
    );
    if (this.#stemPool !== undefined) {
      const pooled = this.#stemPool.forward(x, training);
      if (this.#stemPool.keepsInput) maker = undefined;
      advance(pooled, this.#stemPool);
    }
    for (const block of this.#blocks) {
      const next = timed(block.name, () => block.forward(x, training));
      advance(next, block.output);
    }
    const average = globalAverage(x);
    const featureShape = x.shape;
    if (!training) x.dispose();
    else if (isFrugal(this.#plan)) maker?.giveBack();
    const weight = this.#parameters.tensor(this.#denseWeight);
    const logits = dense(average, weight, this.#parameters.tensor(this.#denseBias));
    return { input, featureShape, average, logits };
  }

  /** From the last layer to the first; consumes the gradient of the logits and what forward left. */
  #backward(logitsGradient: Tensor, { input, featureShape, average }: Forward, sink: GradientSink): void {
    const gradients = denseGradients(logitsGradient, average, this.#parameters.tensor(this.#denseWeight));
    logitsGradient.dispose();
    average.dispose();
    emit(sink, this.#denseBias, gradients.bias);
    emit(sink, this.#denseWeight, gradients.weight);
    let current = whole(globalAverageGradient(gradients.input, featureShape, this.precision));
    for (const [index, block] of [...this.#blocks.entries()].toReversed()) {
      const x = this.#blocks[index - 1]?.output ?? this.#stemPool ?? this.#stem;
      current = timed(block.name, () => block.backward(current, x, sink));
    }
    if (this.#stemPool !== undefined) current = whole(this.#stemPool.backward(current));
    timed('stem', () => {
      this.#stem.beginBackward(current);
      this.#stem.endBackwardAtImages(input, sink);
    });
    input.dispose();
    this.#stem.reportStatistics(sink);
    for (const block of this.#blocks) block.reportStatistics(sink);
  }

  #squareSides(images: Float32Array, count: number): ImageSides {
    const side = Math.sqrt(images.length / (count * this.#plan.imageChannels));
    if (count < 1 || !Number.isInteger(side) || side < 1) {
      const channels = this.#plan.imageChannels;
      throw new RangeError(`${images.length} numbers are not ${count} square images of ${channels} channels`);
    }
    return { height: side, width: side };
  }

  #upload(images: Float32Array, count: number, { height, width }: ImageSides): Tensor {
    const exact = Tensor.of(images, [count, height, width, this.#plan.imageChannels]);
    if (this.precision === 'float32') return exact;
    const rounded = cast(exact, 'bfloat16');
    exact.dispose();
    return rounded;
  }
}
