// Owns: the one block of the family: a chain of convolutions with a shortcut around it, or without one in plain nets.
// Refuses to know: which architecture it belongs to (the plan says how many convolutions and which shortcut).

import type { KernelRule } from '../kernel-table.js';
import type { BlockPlan } from '../resnet.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { Activation } from './activation.js';
import { ConvolutionUnit } from './convolution-unit.js';
import type { Lent } from './lent.js';
import { shortcutOf } from './shortcut.js';
import type { Shortcut } from './shortcut.js';
import type { GradientSink, ParameterSource } from './sink.js';
import { whole } from './split-gradient.js';
import type { SplitGradient } from './split-gradient.js';

export class Block {
  /** Its place in the net, such as `layer3.12`. */
  readonly name: string;
  readonly #inner: readonly ConvolutionUnit[];
  /** The one that the shortcut joins before its activation. */
  readonly #last: ConvolutionUnit;
  readonly #shortcut: Shortcut | undefined;

  /** @param frugal whether outputs within the block are freed in forward and made again in backward, where that can be */
  constructor(
    plan: BlockPlan,
    activation: Activation,
    source: ParameterSource,
    rule: KernelRule,
    private readonly frugal: boolean,
  ) {
    this.name = plan.name;
    this.#shortcut = shortcutOf(plan.shortcut, source, rule);
    const units = plan.convolutions.map((convolution) => new ConvolutionUnit(convolution, activation, source, rule));
    this.#last = units.pop() as ConvolutionUnit;
    this.#inner = units;
  }

  /** Of its last forward in training. */
  get output(): Lent {
    return this.#last;
  }

  /** Borrows x. In training the block owns its output until its backward; in evaluation the caller does. */
  forward(x: Tensor, training: boolean): Tensor {
    let main = x;
    let maker: ConvolutionUnit | undefined;
    const advance = (next: Tensor, unit: ConvolutionUnit): void => {
      if (!training && main !== x) main.dispose();
      if (training && this.frugal) maker?.giveBack();
      main = next;
      maker = unit;
    };
    for (const unit of this.#inner) advance(unit.forward(main, training), unit);
    const side = this.#shortcut?.forward(x, training);
    advance(this.#last.forward(main, training, side), this.#last);
    if (side !== x) side?.dispose();
    return main;
  }

  /**
   * Consumes the gradient of the output and returns that of the input. The shortcut's parameters lie behind the main
   * path's in the layout, so theirs are reported first.
   * @param x what forward read
   */
  backward(gradient: SplitGradient, x: Lent, sink: GradientSink): SplitGradient {
    const shared = this.#last.beginBackward(gradient);
    const addend = shared === undefined ? undefined : this.#shortcut?.backward(shared, x, sink);
    let main = this.#last.endBackward(this.#inner.at(-1) ?? x, sink);
    for (const [index, unit] of [...this.#inner.entries()].toReversed()) {
      main = unit.backward(whole(main), index === 0 ? x : (this.#inner[index - 1] as ConvolutionUnit), sink);
    }
    return { main, addend };
  }

  /** In the layout's order. */
  reportStatistics(sink: GradientSink): void {
    for (const unit of [...this.#inner, this.#last]) unit.reportStatistics(sink);
    this.#shortcut?.reportStatistics(sink);
  }
}
