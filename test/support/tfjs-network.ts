// Owns: the same nets written with tfjs's public operations and differentiated by tfjs itself: a second, independent road
// to every gradient. Refuses to know: the engine's layers; it shares with them the plan and the layout only.

import * as tf from '@tensorflow/tfjs-node-gpu';
import type { ModelSpec } from '#model/job-spec.js';
import { layoutOf } from '#model/parameters.js';
import type { TensorEntry } from '#model/parameters.js';
import { planOf } from '#model/resnet.js';
import type { BlockPlan, ConvolutionPlan } from '#model/resnet.js';

const EPSILON = 1e-5;

type Values = ReadonlyMap<string, tf.Tensor>;
type Statistics = Map<string, Float32Array>;

export interface AutodiffResult {
  readonly lossSum: number;
  /** Flat, in the layout's order. */
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
}

/** Gradient of (sum of losses) * scale and the batch statistics, by tfjs's own autodiff in float32. */
export function differentiate(
  model: ModelSpec,
  parameters: Float32Array,
  images: Float32Array,
  labels: Int32Array,
  scale: number,
): AutodiffResult {
  const layout = layoutOf(model);
  const gradient = new Float32Array(layout.parameterCount);
  const statistics = new Float32Array(layout.statisticCount);
  let lossSum = NaN;
  tf.tidy(() => {
    const x = tf.tensor4d(images, [labels.length, model.imageSize, model.imageSize, 3]);
    const batch: Statistics = new Map();
    const loss = (...tensors: tf.Tensor[]): tf.Scalar => {
      const values = new Map(layout.parameters.map((entry, index) => [entry.name, tensors[index]!]));
      const logits = forward(model, x, values, batch);
      const target = tf.oneHot(tf.tensor1d(labels, 'int32'), model.classes).toFloat();
      return tf.logSoftmax(logits).mul(target).sum<tf.Scalar>().neg().mul(scale);
    };
    const slice = ({ offset, size, shape }: TensorEntry): tf.Tensor =>
      tf.tensor(parameters.slice(offset, offset + size), [...shape]);
    const { value, grads } = tf.valueAndGrads(loss)(layout.parameters.map(slice));
    lossSum = value.dataSync()[0]! / scale;
    for (const [index, entry] of layout.parameters.entries()) gradient.set(grads[index]!.dataSync(), entry.offset);
    for (const entry of layout.statistics) statistics.set(batch.get(entry.name)!, entry.offset);
  });
  return { lossSum, gradient, statistics };
}

function forward(model: ModelSpec, images: tf.Tensor4D, values: Values, statistics: Statistics): tf.Tensor2D {
  const plan = planOf(model);
  let x = activate(model, convolve(images, plan.stem, values, statistics));
  if (plan.stemPool) {
    const side = x.shape[1];
    const padded = tf.pad(
      x,
      [
        [0, 0],
        [1, 1],
        [1, 1],
        [0, 0],
      ],
      -1e30,
    );
    x = tf.maxPool(padded, 3, 2, 'valid').slice([0, 0, 0, 0], [-1, Math.floor((side - 1) / 2) + 1, -1, -1]);
  }
  for (const block of plan.blocks) x = residual(model, x, block, values, statistics);
  const features = x.mean<tf.Tensor2D>([1, 2]);
  return features.matMul(values.get('fc.weight') as tf.Tensor2D).add(values.get('fc.bias')!);
}

function residual(
  model: ModelSpec,
  x: tf.Tensor4D,
  block: BlockPlan,
  values: Values,
  statistics: Statistics,
): tf.Tensor4D {
  let main = x;
  for (const [index, convolution] of block.convolutions.entries()) {
    main = convolve(main, convolution, values, statistics);
    if (index < block.convolutions.length - 1) main = activate(model, main);
  }
  const { shortcut } = block;
  if (shortcut.kind === 'none') return activate(model, main);
  if (shortcut.kind === 'identity') return activate(model, main.add(x));
  if (shortcut.kind === 'projection') {
    return activate(model, main.add(convolve(x, shortcut.convolution, values, statistics)));
  }
  const thinned = tf.stridedSlice(x, [0, 0, 0, 0], x.shape, [1, shortcut.stride, shortcut.stride, 1]);
  // tfjs has no gradient for strided slices; the average over 1x1 windows is the same thing.
  const same = tf.avgPool(x, 1, shortcut.stride, 'valid');
  if (thinned.shape.join() !== same.shape.join()) throw new Error('the two ways of thinning differ');
  return activate(
    model,
    main.add(
      same.pad([
        [0, 0],
        [0, 0],
        [0, 0],
        [0, shortcut.outputs - shortcut.inputs],
      ]),
    ),
  );
}

function convolve(x: tf.Tensor4D, plan: ConvolutionPlan, values: Values, statistics: Statistics): tf.Tensor4D {
  const border = (plan.kernel - 1) / 2;
  const filter = values.get(`${plan.name}.weight`) as tf.Tensor4D;
  const padded =
    border === 0
      ? x
      : tf.pad(x, [
          [0, 0],
          [border, border],
          [border, border],
          [0, 0],
        ]);
  const y = tf.conv2d(padded, filter, plan.stride, 'valid');
  if (plan.norm === undefined) return y.add(values.get(`${plan.name}.bias`)!);
  const { mean, variance } = tf.moments(y, [0, 1, 2]);
  const count = y.size / y.shape[3];
  statistics.set(`${plan.norm}.running_mean`, mean.dataSync() as Float32Array);
  statistics.set(`${plan.norm}.running_var`, variance.mul(count / (count - 1)).dataSync() as Float32Array);
  const normalised = y.sub(mean).div(variance.add(EPSILON).sqrt());
  return normalised.mul(values.get(`${plan.norm}.weight`)!).add(values.get(`${plan.norm}.bias`)!);
}

function activate(model: ModelSpec, x: tf.Tensor4D): tf.Tensor4D {
  switch (model.activation) {
    case 'relu':
      return tf.relu(x);
    case 'leaky_relu':
      return tf.leakyRelu(x, 0.01);
    case 'sigmoid':
      return tf.sigmoid(x);
    case 'tanh':
      return tf.tanh(x);
  }
}
