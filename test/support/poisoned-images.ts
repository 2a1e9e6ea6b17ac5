// Loaded into a worker before its own code (`node --import …poisoned-images.js?sample=5`): from then on one training image
// of the synthetic dataset has a pixel that is not a number. Refuses to touch anything else.
import { openDataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';

const poisoned = Number(new URL(import.meta.url).searchParams.get('sample'));
const { dataset: spec } = resolveJobSpec({ model: { architecture: 'resnet8' }, dataset: { kind: 'synthetic' } });
const datasets = Object.getPrototypeOf(await openDataset(spec, '')) as Awaited<ReturnType<typeof openDataset>>;
const { value: prepare } = Object.getOwnPropertyDescriptor(datasets, 'prepareTrain') as {
  value: (this: typeof datasets, ...args: Parameters<typeof datasets.prepareTrain>) => Promise<void>;
};

datasets.prepareTrain = async function (ids, seed, epoch, augmentation, out, labels) {
  await prepare.call(this, ids, seed, epoch, augmentation, out, labels);
  const at = ids.indexOf(poisoned);
  if (at >= 0) out[(at * out.length) / ids.length] = Number.NaN;
};
