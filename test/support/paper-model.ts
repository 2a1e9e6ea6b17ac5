// The nets as they are measured: as in the paper, with the shortcut and the classes of their form.
import { isCifarForm } from '#model/architecture.js';
import type { ModelSpec } from '#model/job-spec.js';

/** @param imageSize pixels per side @default 32 for the CIFAR form, 224 for ImageNet's */
export function paperModel(architecture: string, imageSize?: number): ModelSpec {
  const cifar = isCifarForm(architecture);
  return {
    architecture,
    activation: 'relu',
    shortcut: cifar ? 'A' : 'B',
    batchNorm: true,
    initialisation: 'he',
    zeroLastGamma: false,
    classes: cifar ? 10 : 1000,
    imageSize: imageSize ?? (cifar ? 32 : 224),
  };
}
