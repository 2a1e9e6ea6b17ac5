// Owns: a net as TensorFlow's nodes with its weights as constants: the same kernels, paddings and layouts as Network's evaluation.
// Refuses to know: files and signatures' encoding (tensorflow-graph.ts).
import { LEAKY_SLOPE } from '../layers/activation.js';
import { BATCH_NORM_EPSILON } from '../layers/batch-norm.js';
import { isNotNegative } from '../layers/activation.js';
import { geometryOf, outputSide, type Window } from '../layers/window.js';
import type { ModelSpec } from '../job-spec.js';
import { layoutOf, type TensorEntry } from '../parameters.js';
import { planOf, type BlockPlan, type ConvolutionPlan, type ShortcutPlan } from '../resnet.js';
import { type AttributeValue, GraphBuilder } from './tensorflow-graph.js';
import type { Encoded } from './protobuf.js';

/** Nodes of the signature. */
export const NODES = { images: 'images', logits: 'logits', probabilities: 'probabilities' } as const;

const T: Readonly<Record<string, AttributeValue>> = { T: { type: 'float32' } };
const POOL: Window = { kernel: 3, stride: 2 };
/** Below every value that a net in working order has. */
const LOWEST = -3e38;

/** A node's output and the sides of its images. */
interface Value {
  readonly node: string;
  readonly side: number;
}

/** saved_model.pb of a net whose input is [n, imageSize, imageSize, 3], normalised, in float32. */
export function frozenGraph(
  model: ModelSpec,
  weights: { readonly parameters: Float32Array; readonly statistics: Float32Array },
): Encoded {
  return new Freezer(model, weights).freeze();
}

class Freezer {
  readonly #graph = new GraphBuilder();
  readonly #constants: ReadonlyMap<string, { entry: TensorEntry; values: Float32Array }>;

  constructor(
    private readonly model: ModelSpec,
    { parameters, statistics }: { readonly parameters: Float32Array; readonly statistics: Float32Array },
  ) {
    const layout = layoutOf(model);
    const within = (entries: readonly TensorEntry[], flat: Float32Array) =>
      entries.map(
        (entry) => [entry.name, { entry, values: flat.subarray(entry.offset, entry.offset + entry.size) }] as const,
      );
    this.#constants = new Map([...within(layout.parameters, parameters), ...within(layout.statistics, statistics)]);
  }

  freeze(): Encoded {
    const { imageSize, classes } = this.model;
    const plan = planOf(this.model);
    const inputShape = [-1, imageSize, imageSize, plan.imageChannels];
    const graph = this.#graph;
    graph.node(NODES.images, 'Placeholder', [], { dtype: { type: 'float32' }, shape: { shape: inputShape } });
    let x = this.#unit({ node: NODES.images, side: imageSize }, plan.stem, true);
    if (plan.stemPool) x = this.#maxPool(x);
    for (const block of plan.blocks) x = this.#block(x, block);
    const axes = graph.constant('average/axes', Int32Array.of(1, 2), [2]);
    const average = graph.node('average', 'Mean', [x.node, axes], { ...T, Tidx: { type: 'int32' } });
    const dense = graph.node('fc', 'MatMul', [average, this.#constant(`${plan.dense.name}.weight`)], T);
    graph.node(NODES.logits, 'BiasAdd', [dense, this.#constant(`${plan.dense.name}.bias`)], T);
    graph.node(NODES.probabilities, 'Softmax', [NODES.logits], T);
    const scores = (node: string) => ({ node, shape: [-1, classes] });
    return graph.savedModel(
      { images: { node: NODES.images, shape: inputShape } },
      { logits: scores(NODES.logits), probabilities: scores(NODES.probabilities) },
    );
  }

  #block(x: Value, { name, convolutions, shortcut }: BlockPlan): Value {
    let main = x;
    for (const [index, convolution] of convolutions.entries()) {
      // With a shortcut the last activation comes after the addition.
      main = this.#unit(main, convolution, index < convolutions.length - 1 || shortcut.kind === 'none');
    }
    if (shortcut.kind === 'none') return main;
    const side = this.#shortcut(x, name, shortcut);
    const sum = this.#graph.node(nodeName(`${name}.sum`), 'AddV2', [main.node, side.node], T);
    return { node: this.#activated(sum, nodeName(`${name}.activation`)), side: main.side };
  }

  #shortcut(x: Value, name: string, shortcut: Exclude<ShortcutPlan, { kind: 'none' }>): Value {
    if (shortcut.kind === 'identity') return x;
    if (shortcut.kind === 'projection') return this.#unit(x, shortcut.convolution, false);
    const { stride, inputs, outputs } = shortcut;
    const at = (part: string): string => nodeName(`${name}.shortcut.${part}`);
    let { node } = x;
    if (stride > 1) {
      const index = ['begin', 'end'].map((part) => this.#graph.constant(at(part), new Int32Array(4), [4]));
      const strides = this.#graph.constant(at('strides'), Int32Array.of(1, stride, stride, 1), [4]);
      // Masked: from the first to the last, whatever begin and end say.
      const masks = { begin_mask: { int: 15 }, end_mask: { int: 15 }, Index: { type: 'int32' } } as const;
      node = this.#graph.node(at('thinned'), 'StridedSlice', [node, ...index, strides], { ...T, ...masks });
    }
    if (outputs > inputs) node = this.#pad(node, at('widened'), [0, 0, 0, 0, 0, 0, 0, outputs - inputs]);
    return { node, side: outputSide(stride, x.side) };
  }

  /** Convolution, then batch norm or bias, then the activation where there is one. */
  #unit(x: Value, plan: ConvolutionPlan, activated: boolean): Value {
    const { node, padding } = this.#padded(x, plan, plan.name);
    const graph = this.#graph;
    let out = graph.node(nodeName(plan.name), 'Conv2D', [node, this.#constant(`${plan.name}.weight`)], {
      ...T,
      strides: { ints: [1, plan.stride, plan.stride, 1] },
      padding: { text: padding },
    });
    const { norm } = plan;
    if (norm === undefined) {
      out = graph.node(nodeName(`${plan.name}.shifted`), 'BiasAdd', [out, this.#constant(`${plan.name}.bias`)], T);
    } else {
      const inputs = ['weight', 'bias', 'running_mean', 'running_var'].map((part) => this.#constant(`${norm}.${part}`));
      out = graph.node(nodeName(norm), 'FusedBatchNormV3', [out, ...inputs], {
        ...T,
        U: { type: 'float32' },
        epsilon: { float: BATCH_NORM_EPSILON },
        is_training: { bool: false },
      });
    }
    if (activated) out = this.#activated(out, nodeName(`${plan.name}.activation`));
    return { node: out, side: outputSide(plan.stride, x.side) };
  }

  #activated(x: string, name: string): string {
    const { activation } = this.model;
    const op = { relu: 'Relu', leaky_relu: 'LeakyRelu', sigmoid: 'Sigmoid', tanh: 'Tanh' }[activation];
    return this.#graph.node(name, op, [x], activation === 'leaky_relu' ? { ...T, alpha: { float: LEAKY_SLOPE } } : T);
  }

  #maxPool(x: Value): Value {
    const fill = isNotNegative(this.model.activation) ? undefined : LOWEST;
    const { node, padding } = this.#padded(x, POOL, 'pool', fill);
    const window = (side: number) => ({ ints: [1, side, side, 1] });
    const attributes = { ...T, ksize: window(POOL.kernel), strides: window(POOL.stride), padding: { text: padding } };
    return { node: this.#graph.node('pool', 'MaxPool', [node], attributes), side: outputSide(POOL.stride, x.side) };
  }

  /** With the rows and columns that SAME would put on the wrong sides (window.ts). */
  #padded(x: Value, window: Window, name: string, fill?: number): { node: string; padding: string } {
    const { padding, explicit } = geometryOf(window, x.side, x.side);
    if (explicit === undefined) return { node: x.node, padding };
    const [rows, columns] = explicit;
    return { node: this.#pad(x.node, nodeName(`${name}.padded`), [0, 0, ...rows, ...columns, 0, 0], fill), padding };
  }

  #pad(x: string, name: string, sides: readonly number[], fill?: number): string {
    const inputs = [x, this.#graph.constant(`${name}/sides`, Int32Array.from(sides), [4, 2])];
    if (fill !== undefined) inputs.push(this.#graph.constant(`${name}/fill`, Float32Array.of(fill), []));
    const op = fill === undefined ? 'Pad' : 'PadV2';
    return this.#graph.node(name, op, inputs, { ...T, Tpaddings: { type: 'int32' } });
  }

  #constant(name: string): string {
    const { entry, values } = this.#constants.get(name)!;
    return this.#graph.constant(nodeName(name), values, entry.shape);
  }
}

function nodeName(name: string): string {
  return name.replaceAll('.', '/');
}
