// Owns: what a stored net is shown of an image by itself: how large, which part, how normalised, and what its classes are called.
// Refuses to know: decoding, and datasets as a whole.
import { isCifarForm } from '../architecture.js';
import { CIFAR10_CLASSES } from '../datasets/cifar10.js';
import { shorterSideFor } from '../images/views.js';
import type { NormalisationSpec } from '../job-spec.js';
import { CIFAR10_NORMALISATION, IMAGENET_NORMALISATION } from '../job-spec-defaults.js';
import { IMAGENET_CLASSES } from './imagenet-classes.js';
import type { StoredModel } from './stored-model.js';

export interface ModelInput extends NormalisationSpec {
  /** Height and width of what the net sees, pixels. */
  readonly imageSize: number;
  /** That the image is resized to before its middle is cut out. */
  readonly shorterSide: number;
}

/**
 * As in the training that the checkpoint tells of. For a bare file: ImageNet's ways (shorter side 256, the middle 224x224),
 * and CIFAR-10's for nets of the CIFAR form, which see the whole image.
 */
export function inputOf({ model, manifest }: StoredModel): ModelInput {
  const dataset = manifest?.spec.dataset;
  const { imageSize } = model;
  const whole = dataset === undefined ? isCifarForm(model.architecture) : isSeenWhole(dataset.kind);
  const usual = whole ? CIFAR10_NORMALISATION : IMAGENET_NORMALISATION;
  const { mean, std } = dataset !== undefined && 'normalisation' in dataset ? dataset.normalisation : usual;
  return { imageSize, shorterSide: whole ? imageSize : shorterSideFor(imageSize), mean, std };
}

/** Names by class number; numbers as texts where nobody knows them. */
export function classNamesOf({ model, manifest }: StoredModel): readonly string[] {
  if (manifest?.classNames !== undefined) return manifest.classNames;
  const kind = manifest?.spec.dataset.kind;
  const named = kind === 'synthetic' ? [] : [CIFAR10_CLASSES, IMAGENET_CLASSES];
  return (
    named.find((names) => names.length === model.classes) ??
    Array.from({ length: model.classes }, (_, index) => String(index))
  );
}

function isSeenWhole(kind: string): boolean {
  return kind === 'cifar10' || kind === 'synthetic';
}
