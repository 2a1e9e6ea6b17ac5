// The one builder of the family: turns a model spec into a plan of convolutions, blocks and names in forward order.
// A plan is plain data; it knows neither values of parameters nor TensorFlow, so the coordinator can use it too.

import { architectureOf } from './architecture.js';
import type { Architecture } from './architecture.js';
import type { ModelSpec } from './job-spec.js';

export interface ConvolutionPlan {
  /** torchvision's module name, such as 'layer1.0.conv1'. */
  readonly name: string;
  /** Module name of the batch norm behind it; undefined where the net has none and the convolution has a bias. */
  readonly norm: string | undefined;
  /** Side of the square filter; the padding is (kernel - 1) / 2 on every side, as in torchvision. */
  readonly kernel: number;
  readonly stride: number;
  readonly inputs: number;
  readonly outputs: number;
  /** Its gamma starts at zero, so that the block starts as its shortcut. */
  readonly zeroGamma: boolean;
}

export type ShortcutPlan =
  | { readonly kind: 'none' }
  | { readonly kind: 'identity' }
  /** Option A: every stride-th pixel, further channels zero. */
  | { readonly kind: 'subsample'; readonly stride: number; readonly inputs: number; readonly outputs: number }
  | { readonly kind: 'projection'; readonly convolution: ConvolutionPlan };

export interface BlockPlan {
  readonly name: string;
  readonly convolutions: readonly ConvolutionPlan[];
  readonly shortcut: ShortcutPlan;
}

export interface NetworkPlan {
  readonly stem: ConvolutionPlan;
  /** A 3x3 max pool of stride 2 follows the stem. */
  readonly stemPool: boolean;
  readonly blocks: readonly BlockPlan[];
  readonly dense: { readonly name: string; readonly inputs: number; readonly outputs: number };
  readonly imageChannels: number;
}

/**
 * Whether a pass over this net saves memory where that costs a little time: nets for large images, which keep gigabytes between
 * forward and backward. Those for small ones keep a few dozen megabytes, and each of their passes over memory counts.
 */
export function isFrugal({ stemPool }: NetworkPlan): boolean {
  return stemPool;
}

const BOTTLENECK_EXPANSION = 4;
const IMAGE_CHANNELS = 3;

/** @throws RangeError when the spec names an architecture that the table does not have. */
export function planOf(model: ModelSpec): NetworkPlan {
  const architecture = architectureOf(model.architecture);
  if (architecture === undefined) throw new RangeError(`unknown architecture '${model.architecture}'`);
  const imagenet = architecture.form === 'imagenet';
  const blocks: BlockPlan[] = [];
  let channels = architecture.stemWidth;
  for (const [stageIndex, stage] of architecture.stages.entries()) {
    for (let index = 0; index < stage.blocks; index++) {
      const name = `layer${stageIndex + 1}.${index}`;
      const stride = index === 0 ? stage.stride : 1;
      const block = blockPlan(model, architecture, name, channels, stage.width, stride);
      blocks.push(block);
      channels = block.convolutions.at(-1)?.outputs ?? channels;
    }
  }
  return {
    stem: {
      name: 'conv1',
      norm: model.batchNorm ? 'bn1' : undefined,
      kernel: imagenet ? 7 : 3,
      stride: imagenet ? 2 : 1,
      inputs: IMAGE_CHANNELS,
      outputs: architecture.stemWidth,
      zeroGamma: false,
    },
    stemPool: imagenet,
    blocks,
    dense: { name: 'fc', inputs: channels, outputs: model.classes },
    imageChannels: IMAGE_CHANNELS,
  };
}

function blockPlan(
  model: ModelSpec,
  architecture: Architecture,
  name: string,
  inputs: number,
  width: number,
  stride: number,
): BlockPlan {
  const bottleneck = architecture.block === 'bottleneck';
  const outputs = bottleneck ? width * BOTTLENECK_EXPANSION : width;
  const strideFirst = architecture.bottleneckStride === 'first';
  // kernel, stride, outputs of each convolution on the main path
  const path: readonly (readonly [number, number, number])[] = bottleneck
    ? [
        [1, strideFirst ? stride : 1, width],
        [3, strideFirst ? 1 : stride, width],
        [1, 1, outputs],
      ]
    : [
        [3, stride, width],
        [3, 1, outputs],
      ];
  let channels = inputs;
  const convolutions = path.map(([kernel, convolutionStride, convolutionOutputs], index): ConvolutionPlan => {
    const last = index === path.length - 1;
    const plan = {
      name: `${name}.conv${index + 1}`,
      norm: model.batchNorm ? `${name}.bn${index + 1}` : undefined,
      kernel,
      stride: convolutionStride,
      inputs: channels,
      outputs: convolutionOutputs,
      zeroGamma: last && architecture.residual && model.zeroLastGamma,
    };
    channels = convolutionOutputs;
    return plan;
  });
  return { name, convolutions, shortcut: shortcutPlan(model, architecture, name, inputs, outputs, stride) };
}

function shortcutPlan(
  model: ModelSpec,
  architecture: Architecture,
  name: string,
  inputs: number,
  outputs: number,
  stride: number,
): ShortcutPlan {
  if (!architecture.residual) return { kind: 'none' };
  const sameShape = stride === 1 && inputs === outputs;
  if (sameShape && model.shortcut !== 'C') return { kind: 'identity' };
  if (model.shortcut === 'A') return { kind: 'subsample', stride, inputs, outputs };
  return {
    kind: 'projection',
    convolution: {
      name: `${name}.downsample.0`,
      norm: model.batchNorm ? `${name}.downsample.1` : undefined,
      kernel: 1,
      stride,
      inputs,
      outputs,
      zeroGamma: false,
    },
  };
}
