// The plain loop without queue, network and reducer, as a process of its own: prints its outcome as JSON on the last line.
// Refuses to know what it is compared with. Arguments: the resolved spec as JSON, where the dataset lies,
// and the weights that it starts from as JSON, where there are any.
import { openDataset } from '#model/datasets/dataset.js';
import type { InitialWeights } from '#model/exchange/initial-weights.js';
import { trainInProcess } from '#model/in-process-training.js';
import { resolveJobSpec } from '#model/job-spec.js';

const [spec = '', location = '', weights = ''] = process.argv.slice(2);
const resolved = resolveJobSpec(JSON.parse(spec));
const dataset = await openDataset(resolved.dataset, location);
const { steps, parametersSha256, stateSha256, evaluation } = await trainInProcess(
  resolved,
  dataset,
  weights === '' ? {} : { initialWeights: JSON.parse(weights) as InitialWeights },
);
await dataset.close();
console.log(JSON.stringify({ steps, parametersSha256, stateSha256, evaluation }));
