// Owns: convolution, then batch norm (or a bias), then activation (or none): the brick of which all these nets are made,
// with what it keeps between forward and backward. Refuses to know: shortcuts and the order of blocks.

import type { KernelRule } from '../kernel-table.js';
import type { TensorEntry } from '../parameters.js';
import type { ConvolutionPlan } from '../resnet.js';
import { addV2, biasAdd, biasAddGrad, cast, reshape } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { activate, activationGradient } from './activation.js';
import type { Activation } from './activation.js';
import { batchNorm, BATCH_NORM_EPSILON } from './batch-norm.js';
import type { Aftermath, BatchNormTrace } from './batch-norm.js';
import { convolve, filterGradient, inputGradient } from './convolution.js';
import type { ServedWindow } from './convolution.js';
import type { Lent } from './lent.js';
import { emit } from './sink.js';
import type { GradientSink, ParameterSource } from './sink.js';
import { joined, whole } from './split-gradient.js';
import type { SplitGradient } from './split-gradient.js';

interface NormEntries {
  readonly gamma: TensorEntry;
  readonly beta: TensorEntry;
  readonly mean: TensorEntry;
  readonly variance: TensorEntry;
}

interface Trace {
  readonly inputShape: readonly number[];
  /** The convolution's output and what batch norm left, where there is batch norm. */
  readonly norm: { readonly input: Tensor; readonly trace: BatchNormTrace } | undefined;
  /** The activation's output, where there is an activation: owned here, lent to the next layer. Gone while it is given back. */
  activated: Tensor | undefined;
  readonly hadResidual: boolean;
}

/** A backward pass that has come as far as the convolution's output. */
interface HalfWay {
  readonly inputShape: readonly number[];
  /** Of the convolution's output. */
  readonly gradient: Tensor;
  readonly norm: { readonly gamma: Tensor; readonly beta: Tensor } | undefined;
}

/**
 * In training, the output of a unit with activation stays the unit's own until its backward, or is made again there; a unit
 * without activation gives its output away. In evaluation the caller owns the output. Inputs are always borrowed, gradients
 * consumed.
 */
export class ConvolutionUnit implements Lent {
  readonly #window: ServedWindow;
  readonly #filter: TensorEntry;
  readonly #bias: TensorEntry | undefined;
  readonly #norm: NormEntries | undefined;
  #trace: Trace | undefined;
  #halfWay: HalfWay | undefined;
  #statistics: BatchNormTrace | undefined;

  constructor(
    private readonly plan: ConvolutionPlan,
    private readonly activation: Activation | undefined,
    private readonly source: ParameterSource,
    rule: KernelRule,
  ) {
    const { name, norm, kernel, stride } = plan;
    this.#window = { kernel, stride, rule };
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

  /** @param residual added before the activation; borrowed */
  forward(x: Tensor, training: boolean, residual?: Tensor): Tensor {
    const convolved = convolve(x, this.source.tensor(this.#filter), this.#window);
    // Batch norm rectifies on its way; other activations are passes of their own.
    const after = { residual, rectify: this.activation === 'relu' };
    const { output: shifted, norm } = this.#shift(convolved, training, after);
    let output = shifted;
    if (this.activation !== undefined && !(this.#norm !== undefined && after.rectify)) {
      output = activate(this.activation, shifted);
      shifted.dispose();
    }
    if (training) {
      const activated = this.activation === undefined ? undefined : output;
      this.#trace = { inputShape: x.shape, norm, activated, hadResidual: residual !== undefined };
    }
    return output;
  }

  lend(): Tensor {
    const trace = this.#trace;
    if (trace === undefined) throw new Error(`${this.plan.name}: no forward pass in training has left an output`);
    trace.activated ??= this.#again(trace)?.();
    if (trace.activated === undefined) throw new Error(`${this.plan.name}: the output is its reader's`);
    return trace.activated;
  }

  giveBack(): void {
    const trace = this.#trace;
    if (trace?.activated === undefined || this.#again(trace) === undefined) return;
    trace.activated.dispose();
    trace.activated = undefined;
  }

  /**
   * How the output is made again from what backward wants anyway: one pass over memory, and a quarter of what a bottleneck
   * without its last convolution would keep. Undefined where backward wants the output too.
   */
  #again({ norm, hadResidual }: Trace): (() => Tensor) | undefined {
    const { normaliseAgain } = batchNorm();
    const entries = this.#norm;
    const wantsOutput = hadResidual || this.activation !== 'relu';
    if (normaliseAgain === undefined || entries === undefined || norm === undefined || wantsOutput) return undefined;
    const [gamma, beta] = [this.source.tensor(entries.gamma), this.source.tensor(entries.beta)];
    return () => normaliseAgain(norm.input, gamma, beta, norm.trace, { residual: undefined, rectify: true });
  }

  /** Batch norm or bias, then the residual. In training with batch norm, `convolved` is kept in the result's `norm`. */
  #shift(convolved: Tensor, training: boolean, after: Aftermath): { output: Tensor; norm: Trace['norm'] } {
    const source = this.source;
    if (this.#norm === undefined) {
      // The bias is float32; in bfloat16 the source lends it rounded, as the sum would be.
      const biased = biasAdd(convolved, source.tensor(this.#bias as TensorEntry));
      convolved.dispose();
      if (after.residual === undefined) return { output: biased, norm: undefined };
      const sum = addV2(biased, after.residual);
      biased.dispose();
      return { output: sum, norm: undefined };
    }
    const [gamma, beta] = [source.tensor(this.#norm.gamma), source.tensor(this.#norm.beta)];
    if (!training) {
      const statistics = [source.tensor(this.#norm.mean), source.tensor(this.#norm.variance)] as const;
      const output = batchNorm().normaliseRunning(convolved, [gamma, beta, ...statistics], BATCH_NORM_EPSILON, after);
      return { output, norm: undefined };
    }
    const { output, trace } = batchNorm().normalise(convolved, gamma, beta, BATCH_NORM_EPSILON, after);
    return { output, norm: { input: convolved, trace } };
  }

  /**
   * The first half of backward: activation and batch norm. Reports nothing yet.
   * @returns the gradient of the residual, where there was one; the caller's
   */
  beginBackward(gradient: SplitGradient): Tensor | undefined {
    const trace = this.#trace;
    if (trace === undefined) throw new Error(`${this.plan.name}: backward without a forward pass in training`);
    this.#trace = undefined;
    const { inputShape, norm, activated, hadResidual } = trace;
    if (this.#norm === undefined || norm === undefined) {
      const current = this.#beforeActivation(gradient, activated);
      activated?.dispose();
      this.#halfWay = { inputShape, gradient: current, norm: undefined };
      // Nothing writes into gradients without batch norm, so two may share their memory.
      return hadResidual ? reshape(current, current.shape) : undefined;
    }
    const rectified = this.activation === 'relu';
    const current = rectified ? gradient : whole(this.#beforeActivation(gradient, activated));
    const { input, residual, ...parameters } = batchNorm().gradients(
      current,
      {
        x: norm.input,
        gamma: this.source.tensor(this.#norm.gamma),
        beta: this.source.tensor(this.#norm.beta),
        trace: norm.trace,
        rectified,
        output: activated,
        hadResidual,
      },
      BATCH_NORM_EPSILON,
    );
    activated?.dispose();
    norm.input.dispose();
    this.#statistics = norm.trace;
    this.#halfWay = { inputShape, gradient: input, norm: parameters };
    return residual;
  }

  #beforeActivation(gradient: SplitGradient, activated: Tensor | undefined): Tensor {
    const sum = joined(gradient);
    if (this.activation === undefined || activated === undefined) return sum;
    const before = activationGradient(this.activation, sum, activated);
    sum.dispose();
    return before;
  }

  /**
   * The second half: reports the gradients of bias or beta and gamma, then of the filter, and returns the input's.
   * @param x what forward read
   */
  endBackward(x: Lent, sink: GradientSink): Tensor {
    const { gradient, inputShape } = this.#reportParameters(x.lend(), sink);
    x.giveBack();
    const input = inputGradient(gradient, this.source.tensor(this.#filter), this.#window, inputShape);
    gradient.dispose();
    return input;
  }

  /** The second half for the first layer: nobody asks for the gradient of the images. */
  endBackwardAtImages(images: Tensor, sink: GradientSink): void {
    this.#reportParameters(images, sink).gradient.dispose();
  }

  #reportParameters(x: Tensor, sink: GradientSink): HalfWay {
    const halfWay = this.#halfWay;
    if (halfWay === undefined) throw new Error(`${this.plan.name}: the end of a backward pass that has not begun`);
    this.#halfWay = undefined;
    const { gradient, norm } = halfWay;
    if (this.#norm !== undefined && norm !== undefined) {
      emit(sink, this.#norm.beta, norm.beta);
      emit(sink, this.#norm.gamma, norm.gamma);
    } else {
      emit(sink, this.#bias as TensorEntry, biasGradient(gradient));
    }
    emit(sink, this.#filter, filterGradient(x, gradient, this.#filter.shape, this.#window));
    return halfWay;
  }

  /** Both halves, for a unit without a residual. */
  backward(gradient: SplitGradient, x: Lent, sink: GradientSink): Tensor {
    this.beginBackward(gradient);
    return this.endBackward(x, sink);
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
