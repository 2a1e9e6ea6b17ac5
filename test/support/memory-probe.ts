// Owns: a program that computes a few tasks as a worker does, with the same thread and the same buffers, and prints the peak of
// its resident memory. Refuses to know: estimates, and the wire. Argument: a job spec as JSON.
import { ComputeClient } from '../../apps/worker/src/compute-client.js';
import type { TrainRequest } from '../../apps/worker/src/compute-protocol.js';
import { tensorflowEnvironment } from '../../apps/worker/src/config.js';
import { resolveJobSpec } from '#model/job-spec.js';
import type { JobSpec } from '#model/job-spec.js';
import { elementsOf, exactRanges } from '#model/parameter-forms.js';
import { pageAligned } from '#model/simd/page-aligned.js';
import { layoutOf } from '#model/parameters.js';

/** Enough for allocators to come to rest. */
const tasks = 4;

/** What a worker holds twice: inputs, versions of the parameters, contributions. All of it is touched, as it would be. */
function requestOf(spec: JobSpec, key: string): TrainRequest {
  const { model, training } = spec;
  const { parameterCount, statisticCount } = layoutOf(model);
  const { shardSize, shardsPerTask, precision, wire, labelSmoothing } = training;
  const samples = shardSize * shardsPerTask;
  const statistics = shared(statisticCount).fill(1);
  const images = shared(samples * model.imageSize ** 2 * 3);
  // Some spread, so that batch norm has something to divide by.
  for (let i = 0; i < images.length; i++) images[i] = ((i * 7919) % 1013) / 500 - 1;
  const gradient =
    wire === 'bfloat16' ? new Uint16Array(new SharedArrayBuffer(2 * parameterCount)) : shared(parameterCount);
  return {
    job: { jobId: 'probe', model, precision, labelSmoothing },
    parameters: { key, ...versionOf(spec), statistics },
    input: {
      images,
      labels: Int32Array.from({ length: samples }, (_, sample) => sample % model.classes),
      shardSamples: Array.from({ length: shardsPerTask }, () => shardSize),
    },
    miniBatchSamples: samples,
    gradient: gradient.fill(0),
    statistics: shared(statisticCount),
    notifyElements: parameterCount,
  };
}

/** As workers hold it. */
function versionOf({ model, training }: JobSpec): { parameters: Float32Array | Uint16Array; exact: Float32Array } {
  const layout = layoutOf(model);
  const { parameterCount } = layout;
  const exact = shared(elementsOf(exactRanges(layout, training.precision))).fill(0.01);
  if (training.precision === 'float32') {
    return { parameters: new Float32Array(pageAligned(4 * parameterCount), 0, parameterCount).fill(0.01), exact };
  }
  // Bits of 0.01.
  return { parameters: new Uint16Array(pageAligned(2 * parameterCount), 0, parameterCount).fill(0x3c24), exact };
}

function shared(length: number): Float32Array {
  return new Float32Array(new SharedArrayBuffer(length * Float32Array.BYTES_PER_ELEMENT));
}

const spec = resolveJobSpec(JSON.parse(process.argv[2] ?? '{}'));
Object.assign(process.env, tensorflowEnvironment(1));
const { client } = await ComputeClient.start();
const requests = [requestOf(spec, 'first'), requestOf(spec, 'second')];
for (let task = 0; task < tasks; task++) {
  const request = requests[task % requests.length]!;
  await client.train(request, new AbortController().signal, () => undefined);
}
console.log(JSON.stringify({ peakBytes: process.resourceUsage().maxRSS * 1024 }));
await client.stop(5_000);
