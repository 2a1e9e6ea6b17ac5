// Whether a job fits: into the coordinator's memory, and onto a worker. Pure; one sentence where it does not.
import type { JobSpec } from '#model/job-spec.js';
import { estimateCoordinatorMemory, estimateWorkerMemory, memoryProblem, sharedVersionBytes } from '#model/memory.js';
import { bfloat16Support, precisionNote } from '#model/precision.js';
import { tasksPerStep } from '../training/step-plan.js';
import type { PoolWorker } from '../workers/worker-registry.js';

/** Why the coordinator cannot train a job; undefined when it can. Bytes. */
export function coordinatorProblem(
  spec: JobSpec,
  trainCount: number,
  limits: { readonly stagingBytes: number; readonly memoryBytes: number },
): string | undefined {
  const needed = estimateCoordinatorMemory(spec, tasksPerStep(spec.training, trainCount), limits.stagingBytes);
  return memoryProblem('The coordinator', needed + sharedVersionBytes(spec), limits.memoryBytes);
}

/** Why a worker cannot compute a job's tasks; undefined when it can. */
export function workerProblem({ memoryBytes, instructionSets, name }: PoolWorker, spec: JobSpec): string | undefined {
  const onCpu = instructionSets.length > 0;
  if (spec.training.precision === 'bfloat16' && onCpu && bfloat16Support(instructionSets) === 'none') {
    return `Worker ${name} cannot compute in bfloat16: its CPU has no AVX-512. Submit the job with training.precision float32.`;
  }
  return memoryProblem(`Worker ${name}`, estimateWorkerMemory(spec), memoryBytes);
}

/** What a job's precision costs on workers like this one, where people should know. */
export function precisionNoteOf({ instructionSets }: PoolWorker, spec: JobSpec): string | null {
  return instructionSets.length === 0 ? null : precisionNote(spec.training.precision, instructionSets);
}
