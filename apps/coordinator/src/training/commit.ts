// The commit of a step: all sums are in and finite; update into another buffer, ledger, and only then the new version.
// A failure before the ledger's append has changed nothing. Refuses to know how contributions came.
import { type Layer, layerFigures, layersOf, type Piece, piecesOf } from '#model/layer-norms.js';
import { clipFactor } from '#model/optimizer.js';
import { sumTree } from '#model/reduction.js';
import { stepsPerEpoch } from '#model/sampler.js';
import type { EvaluationFigures } from '#model/plateau.js';
import { learningRateAt, scheduleAfter, type ScheduleState } from '#model/schedule.js';
import { versionChecksum } from '#proto/blocks.js';
import { hostClockMs } from '#proto/host-clock.js';
import { differencesOnReplay, type LedgerRecord, type StepRecord } from './ledger-format.js';
import { inBlockOrder } from './slices/block-order.js';
import type { PublishedVersion } from './slices/messages.js';
import type { StateBuffers } from './state-buffers.js';
import type { CollectedStep } from './step-collector.js';
import { idsOfShard, type StepPlan } from './step-plan.js';
import {
  messageOf,
  TrainingFailedError,
  type TrainingJob,
  TrainingPausedError,
  type TrainingServices,
} from './training-job.js';

const remedy = 'lower the learning rate, or clip the gradient (optimizer.clipNorm).';

export interface CommittedStep {
  readonly version: PublishedVersion;
  /** What the schedule remembers from here on. */
  readonly scheduleState: ScheduleState;
  readonly learningRate: number;
  /** Norm of the whole gradient, before clipping. */
  readonly gradientNorm: number;
  /** Gradient norm and update ratio of each layer, by the names of their metrics. */
  readonly layerFigures: Readonly<Record<string, number>>;
  /** From the last contribution to the sums' norms, and from there to the new version in the ledger. */
  readonly seconds: { readonly reduce: number; readonly update: number };
}

/** What a step starts from. */
export interface StepBase {
  readonly version: PublishedVersion;
  /** Of that version, before its evaluation. */
  readonly scheduleState: ScheduleState;
  /** The evaluation of that version, where there was one. */
  readonly evaluation: EvaluationFigures | undefined;
}

export class Committer {
  readonly #job: TrainingJob;
  readonly #services: TrainingServices;
  readonly #buffers: StateBuffers;
  readonly #totalSteps: number;
  readonly #layers: readonly Layer[];
  readonly #pieces: readonly Piece[];

  constructor(job: TrainingJob, services: TrainingServices, buffers: StateBuffers, totalSteps: number) {
    this.#job = job;
    this.#services = services;
    this.#buffers = buffers;
    this.#totalSteps = totalSteps;
    this.#layers = layersOf(job.layout);
    this.#pieces = piecesOf(this.#layers);
  }

  /** @throws TrainingPausedError where numbers are not finite or the ledger cannot be written; TrainingFailedError on another result than before */
  async commit(base: StepBase, plan: StepPlan, round: number, collected: CollectedStep): Promise<CommittedStep> {
    const from = base.version;
    const { slices } = this.#services;
    const { id: jobId, lineage, spec, dataset } = this.#job;
    const { optimizer, schedule, batchSize } = spec.training;
    const start = hostClockMs();
    const note = (name: string, startMs: number): void =>
      this.#services.spans.record({ jobId, step: plan.step, row: 'trainer', name, startMs, endMs: hostClockMs() });
    const startedMs = performance.now();
    const sums = await slices.request({ type: 'summarise', jobId });
    note('norms', start);
    if (!sums.finite)
      throw new TrainingPausedError(`The summed gradient of step ${plan.step} is not finite; ${remedy}`);
    const reducedMs = performance.now();
    const squaredNorm = sumTree(inBlockOrder(sums.values));
    const perEpoch = stepsPerEpoch(dataset.trainCount, batchSize);
    const scheduleState = scheduleAfter(schedule, base.scheduleState, base.evaluation);
    const learningRate = learningRateAt(schedule, plan.step, perEpoch, this.#totalSteps, scheduleState);
    const buffer = await this.#buffers.spare(from.buffer);
    const update = {
      jobId,
      fromBuffer: from.buffer,
      toBuffer: buffer,
      learningRate,
      gradientScale: clipFactor(squaredNorm, optimizer.clipNorm),
    };
    const updateStart = hostClockMs();
    const applied = await slices.request({ type: 'apply', update });
    note('update', updateStart);
    if (!applied.finite) throw new TrainingPausedError(`The update of step ${plan.step} is not finite; ${remedy}`);
    const checksum = versionChecksum(inBlockOrder(applied.values));
    const ledgerStart = hostClockMs();
    this.#record({
      kind: 'step',
      step: plan.step,
      version: plan.step + 1,
      lineage,
      round,
      epoch: plan.epoch,
      first: plan.first,
      samples: plan.samples,
      sampleIdsSha256: plan.sampleIdsSha256,
      excluded: plan.excludedShards.flatMap((shard) => idsOfShard(spec.training, dataset.trainCount, plan, shard)),
      excludedShards: [...plan.excludedShards],
      tasks: collected.tasks,
      refused: collected.refused,
      loss: collected.loss,
      learningRate,
      parametersChecksum: checksum,
      committedAt: new Date().toISOString(),
    });
    note('ledger', ledgerStart);
    note('commit', start);
    const version = { jobId, lineage, version: plan.step + 1, checksum, buffer };
    const figures = layerFigures(this.#layers, this.#pieces, applied.layerSums);
    const seconds = { reduce: (reducedMs - startedMs) / 1000, update: (performance.now() - reducedMs) / 1000 };
    const gradientNorm = Math.sqrt(squaredNorm);
    return { version, scheduleState, learningRate, gradientNorm, layerFigures: figures, seconds };
  }

  /** Appends to the ledger; where the step was committed before, a run since the checkpoint repeats it, to the bit. */
  #record(record: StepRecord): void {
    const { ledger } = this.#services;
    const recorded = ledger.recordOf(record.step);
    if (recorded === undefined) return appendOrPause(ledger, record);
    const differing = differencesOnReplay(recorded, record);
    if (differing.length === 0) return;
    throw new TrainingFailedError(
      `Step ${record.step}, run again after a restart, came to something else than the ledger says (${differing.join(', ')}). ` +
        'Something that determines the bits has changed, such as the data or the device.',
    );
  }
}

/** @throws TrainingPausedError where the ledger cannot be written to, a full disk above all */
export function appendOrPause(ledger: TrainingServices['ledger'], record: LedgerRecord): void {
  try {
    ledger.append(record);
  } catch (error) {
    const message = `The ledger cannot be written to: ${messageOf(error)} Nothing is lost; make room, then resume the job.`;
    throw new TrainingPausedError(message, { cause: error });
  }
}
