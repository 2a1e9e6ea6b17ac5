// Owns: which of two kernels serves each 1x1 convolution of a net: a job's table, and the fixed rule where there is none.
// Refuses to know: TensorFlow, and how the quicker one is found (kernel-trial.ts).

import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ModelSpec } from './job-spec.js';
import { outputSide } from './layers/window.js';
import { planOf } from './resnet.js';
import type { ConvolutionPlan } from './resnet.js';

/** What a 1x1 convolution is computed for. */
export const pointwisePasses = ['forward', 'inputGradient', 'filterGradient'] as const;
export type PointwisePass = (typeof pointwisePasses)[number];

const pointwiseKernels = ['convolution', 'product'] as const;
/** `convolution`: Conv2D or one of its gradients; `product`: MatMul over all pixels. */
export type PointwiseKernel = (typeof pointwiseKernels)[number];

/** A 1x1 convolution of stride 1 (strides are taken out before), of however many images. */
export interface PointwiseShape {
  /** Height times width of an image. */
  readonly pixels: number;
  readonly inputs: number;
  readonly outputs: number;
}

/** Says for every shape, of a net or not, which kernel serves it: part of what determines bits. */
export type KernelRule = (pass: PointwisePass, shape: PointwiseShape) => PointwiseKernel;

const kernel = z.enum(pointwiseKernels);
/** By shape, as 'pixels x inputs x outputs'. Without the number of images: the short last shard of an epoch has no kernel of its own. */
export const kernelTableSchema = z.record(
  z.string().regex(/^\d+x\d+x\d+$/),
  z.strictObject({ forward: kernel, inputGradient: kernel, filterGradient: kernel }),
);
export type KernelTable = Readonly<z.infer<typeof kernelTableSchema>>;

/**
 * Few pixels with many channels: there the convolution kernel spends its time on the filter, and a product is 1.3 to 1.8
 * times as quick. Elsewhere the two are alike.
 */
const FEW_PIXELS = 64;

/** For nets without a table. In bfloat16 a filter's gradient is three times as quick as a product. */
export const fixedRule: KernelRule = (pass, { pixels }) =>
  pass === 'filterGradient' || pixels <= FEW_PIXELS ? 'product' : 'convolution';

/** A shape's entry in a table where nothing is known of it. */
export function fixedKernels(shape: PointwiseShape): Record<PointwisePass, PointwiseKernel> {
  const entries = pointwisePasses.map((pass) => [pass, fixedRule(pass, shape)] as const);
  return Object.fromEntries(entries) as Record<PointwisePass, PointwiseKernel>;
}

/** What the table says; what it does not know, such as images of another size in an evaluation, goes by the fixed rule. */
export function ruleOf(table: KernelTable | undefined): KernelRule {
  if (table === undefined) return fixedRule;
  const entries = new Map(Object.entries(table));
  return (pass, shape) => entries.get(kernelKey(shape))?.[pass] ?? fixedRule(pass, shape);
}

export function kernelKey({ pixels, inputs, outputs }: PointwiseShape): string {
  return `${pixels}x${inputs}x${outputs}`;
}

/** Each shape once, in the order in which forward comes to it. */
export function pointwiseShapes(model: ModelSpec): PointwiseShape[] {
  const plan = planOf(model);
  const shapes = new Map<string, PointwiseShape>();
  /** The side that the convolution leaves. */
  const through = ({ kernel: window, stride, inputs, outputs }: ConvolutionPlan, side: number): number => {
    const after = outputSide(stride, side);
    const shape = { pixels: after ** 2, inputs, outputs };
    if (window === 1) shapes.set(kernelKey(shape), shape);
    return after;
  };
  let side = through(plan.stem, model.imageSize);
  if (plan.stemPool) side = outputSide(2, side);
  for (const { convolutions, shortcut } of plan.blocks) {
    if (shortcut.kind === 'projection') through(shortcut.convolution, side);
    side = convolutions.reduce((left, convolution) => through(convolution, left), side);
  }
  return [...shapes.values()];
}

/** Whether a table has an entry for each of these shapes, and no other. */
export function fitsShapes(table: KernelTable, shapes: readonly PointwiseShape[]): boolean {
  return Object.keys(table).length === shapes.length && shapes.every((shape) => kernelKey(shape) in table);
}

/** A table in few words, equal for equal tables only; undefined where it has no entries. */
export function tableInShort(table: KernelTable): string | undefined {
  const keys = Object.keys(table).toSorted();
  if (keys.length === 0) return undefined;
  const kernels = keys.flatMap((key) => pointwisePasses.map((pass) => table[key]![pass]));
  const products = kernels.filter((name) => name === 'product').length;
  const digest = createHash('sha256').update(keys.join()).update(kernels.join()).digest('hex').slice(0, 8);
  return `1x1 convolutions by MatMul: ${products} of ${kernels.length} (table ${digest})`;
}
