// Loaded into a worker before its own code (`node --import …poisoned-images.js?sample=5`): from then on one training image
// of the synthetic dataset has a pixel that is not a number. Refuses to touch anything else.
import { openDataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';

const poisoned = Number(new URL(import.meta.url).searchParams.get('sample'));
const { dataset: spec } = resolveJobSpec({ model: { architecture: 'resnet8' }, dataset: { kind: 'synthetic' } });
type Synthetic = Awaited<ReturnType<typeof openDataset>>;
const datasets = Object.getPrototypeOf(await openDataset(spec, '')) as { prepareTrain: Synthetic['prepareTrain'] };

datasets.prepareTrain = new Proxy(datasets.prepareTrain, {
  async apply(prepare, dataset: Synthetic, args: Parameters<Synthetic['prepareTrain']>) {
    await Reflect.apply(prepare, dataset, args);
    const [ids, , , , out] = args;
    const at = ids.indexOf(poisoned);
    if (at >= 0) out[(at * out.length) / ids.length] = Number.NaN;
  },
});
