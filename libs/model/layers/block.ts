// Owns: the one block of the family: a chain of convolutions with a shortcut around it, or without one in plain nets.
// Refuses to know: which architecture it belongs to (the plan says how many convolutions and which shortcut).

import type { BlockPlan } from '../resnet.js';
import { addV2 } from '../tensorflow/kernels.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { activate, activationGradient } from './activation.js';
import type { Activation } from './activation.js';
import { ConvolutionUnit } from './convolution-unit.js';
import { shortcutOf } from './shortcut.js';
import type { Shortcut } from './shortcut.js';
import type { GradientSink, ParameterSource } from './sink.js';

export class Block {
  readonly #units: readonly ConvolutionUnit[];
  readonly #shortcut: Shortcut | undefined;
  /** The output of the last forward in training, where the block itself applies the last activation. */
  #output: Tensor | undefined;

  constructor(
    private readonly plan: BlockPlan,
    private readonly activation: Activation,
    source: ParameterSource,
  ) {
    this.#shortcut = shortcutOf(plan.shortcut, source);
    const last = plan.convolutions.length - 1;
    this.#units = plan.convolutions.map((convolution, index) => {
      // With a shortcut the last activation comes after the addition.
      const inner = index < last || this.#shortcut === undefined;
      return new ConvolutionUnit(convolution, inner ? activation : undefined, source);
    });
  }

  /** Its place in the net, such as `layer3.12`. */
  get name(): string {
    return this.plan.name;
  }

  /** Borrows x. In training the block owns its output until its backward; in evaluation the caller does. */
  forward(x: Tensor, training: boolean): Tensor {
    let main = x;
    for (const unit of this.#units) {
      const next = unit.forward(main, training);
      if (!training && main !== x) main.dispose();
      main = next;
    }
    if (this.#shortcut === undefined) return main;
    const side = this.#shortcut.forward(x, training);
    const sum = addV2(main, side);
    main.dispose();
    if (side !== x) side.dispose();
    const output = activate(this.activation, sum);
    sum.dispose();
    if (training) this.#output = output;
    return output;
  }

  /**
   * Consumes the gradient of the output and returns that of the input. The shortcut's parameters lie behind the main
   * path's in the layout, so theirs are reported first.
   */
  backward(gradient: Tensor, sink: GradientSink): Tensor {
    if (this.#shortcut === undefined) return this.#mainBackward(gradient, sink, false);
    const output = this.#output;
    if (output === undefined) throw new Error(`${this.plan.name}: backward without a forward pass in training`);
    this.#output = undefined;
    const sumGradient = activationGradient(this.activation, gradient, output);
    gradient.dispose();
    output.dispose();
    const side = this.#shortcut.backward(sumGradient, sink);
    const needsSum = side === sumGradient;
    const main = this.#mainBackward(sumGradient, sink, needsSum);
    const total = addV2(main, side);
    main.dispose();
    side.dispose();
    return total;
  }

  #mainBackward(gradient: Tensor, sink: GradientSink, keepGradient: boolean): Tensor {
    let current = gradient;
    for (let index = this.#units.length - 1; index >= 0; index--) {
      const keep = keepGradient && current === gradient;
      current = this.#units[index]?.backward(current, sink, { keepGradient: keep, wantsInput: true }) as Tensor;
    }
    return current;
  }

  /** In the layout's order. */
  reportStatistics(sink: GradientSink): void {
    for (const unit of this.#units) unit.reportStatistics(sink);
    this.#shortcut?.reportStatistics(sink);
  }
}
