// The plain loop without queue, network and reducer, as a process of its own: prints its outcome as JSON on the last line.
// Refuses to know what it is compared with. Arguments: the resolved spec as JSON, where the dataset lies,
// and as JSON what is beside the spec: lists of shards to leave out by step, a kernel table, and weights to start from.
import { openDataset } from '#model/datasets/dataset.js';
import { trainInProcess } from '#model/in-process-training.js';
import { resolveJobSpec } from '#model/job-spec.js';
import type { PlainOptions } from './plain-loop.js';

const [spec = '', location = '', besides = '{}'] = process.argv.slice(2);
const { excluded, kernels, weights } = JSON.parse(besides) as PlainOptions;
const resolved = resolveJobSpec(JSON.parse(spec));
const dataset = await openDataset(resolved.dataset, location);
const { steps, parametersSha256, stateSha256, evaluation } = await trainInProcess(resolved, dataset, {
  kernels,
  excludedShards: (step) => excluded?.[step] ?? [],
  ...(weights === undefined ? {} : { initialWeights: weights }),
});
await dataset.close();
console.log(JSON.stringify({ steps, parametersSha256, stateSha256, evaluation }));
