// Owns: convolution, then batch norm (or a bias), then activation (or none): the brick of which all these nets are made,
// with what it keeps between forward and backward. Refuses to know: shortcuts and the order of blocks.

import type { TensorEntry } from '../parameters.js';
import type { ConvolutionPlan } from '../resnet.js';
import { biasAdd, biasAddGrad, cast } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { activate, activationGradient } from './activation.js';
import type { Activation } from './activation.js';
import { batchNormGradients, normaliseBatch, normaliseRunning } from './batch-norm.js';
import type { BatchNormTrace } from './batch-norm.js';
import { convolve, filterGradient, inputGradient, releaseTrace } from './convolution.js';
import type { ConvolutionTrace } from './convolution.js';
import { emit } from './sink.js';
import type { GradientSink, ParameterSource } from './sink.js';

interface NormEntries {
  readonly gamma: TensorEntry;
  readonly beta: TensorEntry;
  readonly mean: TensorEntry;
  readonly variance: TensorEntry;
}

interface Trace {
  readonly convolution: ConvolutionTrace;
  /** The convolution's output and what batch norm left, where there is batch norm. */
  readonly norm: { readonly input: Tensor; readonly trace: BatchNormTrace } | undefined;
  /** The activation's output, where there is an activation: owned here, lent to the next layer. */
  readonly activated: Tensor | undefined;
}

/**
 * In training, the output of a unit with activation stays the unit's own until its backward; a unit without activation
 * gives its output away. In evaluation the caller owns the output. Inputs are always borrowed.
 */
export class ConvolutionUnit {
  readonly #filter: TensorEntry;
  readonly #bias: TensorEntry | undefined;
  readonly #norm: NormEntries | undefined;
  #trace: Trace | undefined;
  #statistics: BatchNormTrace | undefined;

  constructor(
    private readonly plan: ConvolutionPlan,
    private readonly activation: Activation | undefined,
    private readonly source: ParameterSource,
  ) {
    const { name, norm } = plan;
    this.#filter = source.entry(`${name}.weight`);
    this.#bias = norm === undefined ? source.entry(`${name}.bias`) : undefined;
    this.#norm =
      norm === undefined
        ? undefined
        : {
            gamma: source.entry(`${norm}.weight`),
            beta: source.entry(`${norm}.bias`),
            mean: source.entry(`${norm}.running_mean`),
            variance: source.entry(`${norm}.running_var`),
          };
  }

  forward(x: Tensor, training: boolean): Tensor {
    const { output: convolved, trace } = convolve(x, this.source.tensor(this.#filter), this.plan);
    const { output: shifted, norm } = this.#shift(convolved, training);
    if (norm === undefined) convolved.dispose();
    let output = shifted;
    if (this.activation !== undefined) {
      output = activate(this.activation, shifted);
      shifted.dispose();
    }
    if (training) {
      this.#trace = { convolution: trace, norm, activated: this.activation === undefined ? undefined : output };
    } else {
      releaseTrace(trace);
    }
    return output;
  }

  /** Batch norm or bias. In training with batch norm, `convolved` is kept in the result's `norm`. */
  #shift(convolved: Tensor, training: boolean): { output: Tensor; norm: Trace['norm'] } {
    const source = this.source;
    if (this.#norm === undefined) {
      // The bias is float32; in bfloat16 the source lends it rounded, as the sum would be.
      return { output: biasAdd(convolved, source.tensor(this.#bias as TensorEntry)), norm: undefined };
    }
    const gamma = source.tensor(this.#norm.gamma);
    const beta = source.tensor(this.#norm.beta);
    if (!training) {
      const { mean, variance } = this.#norm;
      return {
        output: normaliseRunning(convolved, gamma, beta, source.tensor(mean), source.tensor(variance)),
        norm: undefined,
      };
    }
    const { output, trace } = normaliseBatch(convolved, gamma, beta);
    return { output, norm: { input: convolved, trace } };
  }

  /**
   * Reports the gradients of bias or beta and gamma, then of the filter, and returns that of the input.
   * @param gradient that of the output; consumed unless `keepGradient`
   * @param wantsInput false for the first layer: nobody asks for the gradient of the images
   */
  backward(
    gradient: Tensor,
    sink: GradientSink,
    options: { keepGradient: boolean; wantsInput: boolean },
  ): Tensor | undefined {
    const trace = this.#trace;
    if (trace === undefined) throw new Error(`${this.plan.name}: backward without a forward pass in training`);
    this.#trace = undefined;
    let owned = !options.keepGradient;
    let current = gradient;
    const replace = (next: Tensor): void => {
      if (owned) current.dispose();
      current = next;
      owned = true;
    };
    if (this.activation !== undefined && trace.activated !== undefined) {
      replace(activationGradient(this.activation, current, trace.activated));
      trace.activated.dispose();
    }
    if (this.#norm !== undefined && trace.norm !== undefined) {
      const gamma = this.source.tensor(this.#norm.gamma);
      const gradients = batchNormGradients(current, trace.norm.input, gamma, trace.norm.trace);
      trace.norm.input.dispose();
      this.#statistics = trace.norm.trace;
      replace(gradients.input);
      emit(sink, this.#norm.beta, gradients.beta);
      emit(sink, this.#norm.gamma, gradients.gamma);
    } else {
      emit(sink, this.#bias as TensorEntry, biasGradient(current));
    }
    emit(sink, this.#filter, filterGradient(current, this.#filter.shape, this.plan, trace.convolution));
    const input = options.wantsInput
      ? inputGradient(current, this.source.tensor(this.#filter), this.plan, trace.convolution)
      : undefined;
    if (owned) current.dispose();
    releaseTrace(trace.convolution);
    return input;
  }

  /** Reports the batch statistics of the pass whose backward has ended, and frees them. */
  reportStatistics(sink: GradientSink): void {
    if (this.#norm === undefined || this.#statistics === undefined) return;
    const { batchMean, batchVariance } = this.#statistics;
    this.#statistics = undefined;
    sink.onStatistics(this.#norm.mean, batchMean.readFloat32());
    sink.onStatistics(this.#norm.variance, batchVariance.readFloat32());
    batchMean.dispose();
    batchVariance.dispose();
  }
}

/** Summed in float32, whatever the gradient's type: there are thousands of addends. */
function biasGradient(gradient: Tensor): Tensor {
  if (gradient.dtype === 'float32') return biasAddGrad(gradient);
  const wide = cast(gradient, 'float32');
  const sum = biasAddGrad(wide);
  wide.dispose();
  return sum;
}
