// Owns: which net a file's tensors are those of, told by their names and shapes.
// Refuses to know: numbers, files, and how other libraries name tensors (tensor-names.ts).
import { architectureOf, type Architecture } from '../architecture.js';
import type { ModelSpec } from '../job-spec.js';

/** Shapes by torchvision's names. */
export type Shapes = ReadonlyMap<string, readonly number[]>;

export interface Recognised {
  readonly model: ModelSpec;
  /** What the shapes leave open, and what was taken; a sentence for people. */
  readonly note: string | undefined;
}

/** No net of the family has these tensors; the message goes on from the file's name. */
export class NotRecognisedError extends Error {
  override readonly name = 'NotRecognisedError';
}

const IMAGENET_DEPTHS = [18, 34, 50, 101, 152];
const IMAGE_SIZES = { imagenet: 224, cifar: 32 } as const;
const TELL = 'name it with --architecture';

/**
 * The net that has these tensors. What shapes cannot tell is taken as published files have it: bottleneck blocks stride in
 * the 3x3 convolution (torchvision, timm and Hugging Face all do), activations are rectifiers, blocks have shortcuts.
 *
 * @param named an architecture that the user names; it is not checked against the shapes here
 * @throws NotRecognisedError
 */
export function recogniseModel(shapes: Shapes, named?: string): Recognised {
  const classes = shapes.get('fc.weight')?.[0];
  if (classes === undefined || classes < 2) {
    throw new NotRecognisedError('has no dense layer (fc.weight), so it is no classifier that can be used here');
  }
  const batchNorm = !shapes.has('conv1.bias');
  const projections = [...shapes.keys()].filter((name) => name.endsWith('.downsample.0.weight'));
  const { architecture, note } = named === undefined ? architectureFor(shapes, projections.length > 0) : knownAs(named);
  // Option C projects in every block, also where shapes stay the same.
  const everywhere = projections.some((name) => /^layer\d+\.1\./.test(name));
  const shortcut = everywhere ? 'C' : projections.length > 0 || !architecture.residual ? 'B' : 'A';
  return {
    model: {
      architecture: architecture.name,
      activation: 'relu',
      shortcut,
      batchNorm,
      initialisation: 'he',
      zeroLastGamma: false,
      classes,
      imageSize: IMAGE_SIZES[architecture.form],
    },
    note,
  };
}

function knownAs(name: string): { architecture: Architecture; note: undefined } {
  const architecture = architectureOf(name);
  if (architecture === undefined) {
    throw new NotRecognisedError(
      `cannot be taken for '${name}', which is no architecture: it must be resnet18, 34, 50, 101 or 152, -v1.5 behind ` +
        'the last three for the stride of torchvision, resnetN with N = 6n + 2, or a plain twin such as plain20',
    );
  }
  return { architecture, note: undefined };
}

function architectureFor(shapes: Shapes, projects: boolean): { architecture: Architecture; note: string | undefined } {
  const blocks = blocksPerStage(shapes);
  const bottleneck = [...shapes.keys()].some((name) => /^layer\d+\.\d+\.conv3\.weight$/.test(name));
  // Where the stem is missing, it is that which the error should name in the end.
  const kernel = shapes.get('conv1.weight')?.[3] ?? (blocks.length === 4 ? 7 : 3);
  const counts = blocks.join(', ');
  if (kernel === 3 && blocks.length === 3 && !bottleneck && new Set(blocks).size === 1) {
    const architecture = architectureOf(`resnet${6 * blocks[0]! + 2}`);
    if (architecture !== undefined) return { architecture, note: projects ? undefined : shortcutNote(architecture) };
  }
  for (const depth of kernel === 7 ? IMAGENET_DEPTHS : []) {
    const architecture = architectureOf(`resnet${depth}`)!;
    const same = architecture.stages.map((stage) => stage.blocks).join(', ') === counts;
    if (!same || (architecture.block === 'bottleneck') !== bottleneck) continue;
    if (!bottleneck) return { architecture, note: projects ? undefined : shortcutNote(architecture) };
    const note = `Its stride is taken to be in the 3x3 convolutions, as torchvision has it (${architecture.name}-v1.5); for that of the paper give --architecture ${architecture.name}.`;
    return { architecture: architectureOf(`${architecture.name}-v1.5`)!, note };
  }
  throw new NotRecognisedError(
    `belongs to no architecture that is known here: ${blocks.length} stages of ${counts} ${bottleneck ? 'bottleneck' : 'basic'} blocks ` +
      `behind a ${kernel}x${kernel} first convolution; if it is one, ${TELL}`,
  );
}

function shortcutNote({ name }: Architecture): string {
  const plain = name.replace('resnet', 'plain');
  return `Its shortcuts are taken to be the paper's option A, which has no parameters; for its twin without shortcuts give --architecture ${plain}.`;
}

function blocksPerStage(shapes: Shapes): number[] {
  const counts: number[] = [];
  for (const name of shapes.keys()) {
    const [, stage, block] = /^layer(\d+)\.(\d+)\.conv1\.weight$/.exec(name) ?? [];
    if (stage === undefined) continue;
    counts[Number(stage) - 1] = Math.max(counts[Number(stage) - 1] ?? 0, Number(block) + 1);
  }
  return Array.from(counts, (count) => count ?? 0);
}
