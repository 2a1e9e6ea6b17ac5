// The plain loop without queue, network and reducer, as a process of its own: prints its outcome as JSON on the last line.
// Refuses to know what it is compared with. Arguments: the resolved spec as JSON, and where the dataset lies.
import { openDataset } from '#model/datasets/dataset.js';
import { trainInProcess } from '#model/in-process-training.js';
import { resolveJobSpec } from '#model/job-spec.js';

const [spec = '', location = ''] = process.argv.slice(2);
const resolved = resolveJobSpec(JSON.parse(spec));
const dataset = await openDataset(resolved.dataset, location);
const { steps, parametersSha256, stateSha256, evaluation } = await trainInProcess(resolved, dataset);
await dataset.close();
console.log(JSON.stringify({ steps, parametersSha256, stateSha256, evaluation }));
