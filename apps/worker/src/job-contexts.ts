// What is known of each job: its spec, layout and dataset; asked for once, checked against what this worker makes of it.
// Refuses to know tasks and parameters.
import { type Dataset, openDataset } from '#model/datasets/dataset.js';
import type { ImageServices } from '#model/images/image-services.js';
import { type JobSpec, resolveJobSpec } from '#model/job-spec.js';
import { type KernelTable, kernelTableSchema } from '#model/kernel-table.js';
import { elementsOf, exactRanges } from '#model/parameter-forms.js';
import { layoutOf, type ParameterLayout } from '#model/parameters.js';
import { unaryCall } from '#proto/calls.js';
import type { DescribeJobResponse } from '#proto/generated/lockstep/v1/pool.js';
import { type TaskEntry, taskEntrySchema } from '#proto/task-entry.js';
import type { ComputeJob } from './compute-protocol.js';
import { DatasetFiles, type DatasetSources } from './dataset-files.js';
import type { PoolCaller } from './pool-caller.js';
import { messageOf, TaskFailure } from './withdrawal.js';

export interface JobContext {
  readonly jobId: string;
  readonly spec: JobSpec;
  readonly layout: ParameterLayout;
  readonly dataset: Dataset;
  /** Elements of the parameters that are pulled in float32 beside bits of bfloat16; undefined where all is float32. */
  readonly exactCount: number | undefined;
  /** Which kernels serve its 1x1 convolutions; undefined: the fixed rule. */
  readonly kernels: KernelTable | undefined;
  /** What to compute and report before the first contribution; undefined where the job asks for none. */
  readonly probe: TaskEntry | undefined;
}

/** What the compute thread builds the job's network from. */
export function computeJobOf({ jobId, spec, kernels }: JobContext): ComputeJob {
  const { precision, labelSmoothing } = spec.training;
  return { jobId, model: spec.model, precision, labelSmoothing, kernels };
}

/** Jobs kept open; the one used longest ago is closed first. More than run on a worker at one time. */
const keptJobs = 3;
const describeDeadlineMs = 10_000;

export class JobContexts {
  readonly #pool: PoolCaller;
  readonly #images: ImageServices;
  readonly #datasets: DatasetSources;
  /** In order of last use. */
  readonly #contexts = new Map<string, Promise<JobContext>>();

  constructor(pool: PoolCaller, images: ImageServices, datasets: DatasetSources) {
    this.#pool = pool;
    this.#images = images;
    this.#datasets = datasets;
  }

  /** Rejects with `TaskFailure` where this worker cannot serve the job; the next task asks anew. */
  async of(jobId: string): Promise<JobContext> {
    const context = this.#contexts.get(jobId) ?? this.#open(jobId);
    this.#contexts.delete(jobId);
    this.#contexts.set(jobId, context);
    for (const oldest of this.#contexts.keys()) {
      if (this.#contexts.size <= keptJobs) break;
      this.endJob(oldest);
    }
    try {
      return await context;
    } catch (error) {
      if (this.#contexts.get(jobId) === context) this.#contexts.delete(jobId);
      throw error;
    }
  }

  /** Forgets the job and closes its dataset. */
  endJob(jobId: string): void {
    const context = this.#contexts.get(jobId);
    this.#contexts.delete(jobId);
    // A context that failed has nothing to close, and whoever asked for it knows.
    void context?.then(({ dataset }) => dataset.close()).catch(() => undefined);
  }

  close(): void {
    for (const jobId of [...this.#contexts.keys()]) this.endJob(jobId);
  }

  async #open(jobId: string): Promise<JobContext> {
    try {
      const site = { call: 'Pool.DescribeJob', peer: this.#pool.address, task: `job ${jobId}` };
      const { client, metadata } = this.#pool;
      const answer = await unaryCall<DescribeJobResponse>(site, { deadlineMs: describeDeadlineMs }, (options, done) =>
        client.describeJob({ jobId }, metadata, options, done),
      );
      return await contextOf(jobId, answer, this.#images, this.#datasets);
    } catch (error) {
      if (error instanceof TaskFailure) throw error;
      throw new TaskFailure('failed', `Job ${jobId} cannot be opened: ${messageOf(error)}`, { cause: error });
    }
  }
}

async function contextOf(
  jobId: string,
  answer: DescribeJobResponse,
  images: ImageServices,
  datasets: DatasetSources,
): Promise<JobContext> {
  const spec = resolveJobSpec(JSON.parse(answer.specJson));
  const layout = layoutOf(spec.model);
  if (layout.hash !== answer.layoutHash) {
    throw new TaskFailure(
      'failed',
      `This worker lays out ${spec.model.architecture} in another way than the coordinator (hash ${layout.hash} instead of ${answer.layoutHash}): both must run the same version of Lockstep.`,
    );
  }
  const files = new DatasetFiles(answer, datasets);
  const dataset = await openDataset(spec.dataset, answer.datasetLocation, {
    images,
    files: (wanted, location) => files.open(wanted, location),
    cifar10: (wanted, location) => files.openCifar10(wanted, location),
  });
  if (dataset.indexHash !== answer.datasetHash) {
    await dataset.close();
    throw new TaskFailure(
      'failed',
      `The dataset at ${answer.datasetLocation} is not the coordinator's (hash ${dataset.indexHash} instead of ${answer.datasetHash}).`,
    );
  }
  const kernels = answer.kernelsJson === '' ? undefined : kernelTableSchema.parse(JSON.parse(answer.kernelsJson));
  const probe = answer.probeJson === '' ? undefined : taskEntrySchema.parse(JSON.parse(answer.probeJson));
  const { precision } = spec.training;
  const exactCount = precision === 'bfloat16' ? elementsOf(exactRanges(layout, precision)) : undefined;
  return { jobId, spec, layout, dataset, exactCount, kernels, probe };
}
