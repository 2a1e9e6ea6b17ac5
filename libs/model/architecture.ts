// The family as a table: which stages a named architecture has. It holds shapes of nets only and knows nothing of
// tensors, parameters or training.

/** ImageNet form: 7x7 stem, max pool, four stages. CIFAR form: 3x3 stem, three stages of n blocks (6n + 2 layers). */
export type ArchitectureForm = 'imagenet' | 'cifar';
export type BlockKind = 'basic' | 'bottleneck';

export interface Stage {
  readonly blocks: number;
  /** Channels of the 3x3 convolutions; a bottleneck block puts out four times as many. */
  readonly width: number;
  /** Stride of the stage's first block. */
  readonly stride: number;
}

export interface Architecture {
  readonly name: string;
  readonly form: ArchitectureForm;
  /** False for the plain twins: the same convolutions without shortcuts. */
  readonly residual: boolean;
  readonly block: BlockKind;
  /** Which convolution of a bottleneck takes the stride: the first 1x1 (paper) or the 3x3 (torchvision, "v1.5"). */
  readonly bottleneckStride: 'first' | 'middle';
  readonly stemWidth: number;
  readonly stages: readonly Stage[];
}

/** He et al. 2015, table 1: blocks per stage. */
const IMAGENET_FORM: Readonly<Record<number, { block: BlockKind; blocks: readonly number[] }>> = {
  18: { block: 'basic', blocks: [2, 2, 2, 2] },
  34: { block: 'basic', blocks: [3, 4, 6, 3] },
  50: { block: 'bottleneck', blocks: [3, 4, 6, 3] },
  101: { block: 'bottleneck', blocks: [3, 4, 23, 3] },
  152: { block: 'bottleneck', blocks: [3, 8, 36, 3] },
};

/** The deepest net of the paper's section 4.2 has 1,202 layers; beyond it a depth is taken for a slip of the pen. */
const DEEPEST_CIFAR_FORM = 1202;

const NAME = /^(resnet|plain)([1-9]\d{0,3})(-v1\.5)?$/;

/** The table's row of that name, or undefined where there is none. */
export function architectureOf(name: string): Architecture | undefined {
  const match = NAME.exec(name);
  if (match === null) return undefined;
  const residual = match[1] === 'resnet';
  const depth = Number(match[2]);
  const middle = match[3] !== undefined;
  const imagenet = IMAGENET_FORM[depth];
  if (imagenet !== undefined) {
    if (middle && imagenet.block !== 'bottleneck') return undefined;
    return {
      name,
      form: 'imagenet',
      residual,
      block: imagenet.block,
      bottleneckStride: middle ? 'middle' : 'first',
      stemWidth: 64,
      stages: imagenet.blocks.map((blocks, index) => ({ blocks, width: 64 << index, stride: index === 0 ? 1 : 2 })),
    };
  }
  if (middle || depth < 8 || depth > DEEPEST_CIFAR_FORM || (depth - 2) % 6 !== 0) return undefined;
  const blocks = (depth - 2) / 6;
  return {
    name,
    form: 'cifar',
    residual,
    block: 'basic',
    bottleneckStride: 'first',
    stemWidth: 16,
    stages: [16, 32, 64].map((width, index) => ({ blocks, width, stride: index === 0 ? 1 : 2 })),
  };
}

export function isArchitecture(name: string): boolean {
  return architectureOf(name) !== undefined;
}

/** True for nets of the CIFAR form, whose shortcuts are option A unless the spec says otherwise. */
export function isCifarForm(name: string): boolean {
  return architectureOf(name)?.form === 'cifar';
}
