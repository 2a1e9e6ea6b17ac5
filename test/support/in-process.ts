// The plain loop without queue, network and reducer, as a process of its own: prints its outcome as JSON on the last line.
// Refuses to know what it is compared with. Arguments: the resolved spec as JSON, where the dataset lies,
// and what is left out, as JSON: lists of shards by step.
import { openDataset } from '#model/datasets/dataset.js';
import { trainInProcess } from '#model/in-process-training.js';
import { resolveJobSpec } from '#model/job-spec.js';

const [spec = '', location = '', leftOut = '{}'] = process.argv.slice(2);
const excluded = JSON.parse(leftOut) as Record<number, number[]>;
const resolved = resolveJobSpec(JSON.parse(spec));
const dataset = await openDataset(resolved.dataset, location);
const { steps, parametersSha256, stateSha256, evaluation } = await trainInProcess(resolved, dataset, {
  excludedShards: (step) => excluded[step] ?? [],
});
await dataset.close();
console.log(JSON.stringify({ steps, parametersSha256, stateSha256, evaluation }));
