// Owns: a whole training in one process, with the order, shards, tree, rounding and arithmetic of the distributed system:
// the reference that its bits are compared with. Refuses to know: queues, wires, checkpoints on disk.

import { parametersSha256, stateSha256 } from './checkpoint.js';
import type { Dataset } from './datasets/dataset.js';
import { evaluateAll } from './evaluation.js';
import type { EvaluationResult } from './evaluation.js';
import { evaluationShardSize } from './evaluation-views.js';
import { type InitialWeights, stateFromWeights } from './exchange/initial-weights.js';
import { addInto, widenBfloat16 } from './float-arrays.js';
import type { JobSpec } from './job-spec.js';
import type { KernelTable } from './kernel-table.js';
import { Network } from './network.js';
import { clipFactor, decayRanges, sgdOverRanges, squaredNorm, updateStatisticsRange } from './optimizer.js';
import { initialState } from './parameters.js';
import type { EvaluationFigures } from './plateau.js';
import { shardsOf, TreeAccumulator, tasksOf } from './reduction.js';
import type { Shard, TaskShards } from './reduction.js';
import { miniBatchPositions, sampleIds, stepsPerEpoch } from './sampler.js';
import { learningRateAt, scheduleAfter, scheduleStateAtStart, totalStepsOf, type ScheduleState } from './schedule.js';
import { computeTask } from './task-computation.js';
import type { ShardInput, TaskResult } from './task-computation.js';

/** Everything that a step starts from; never changed in place. */
export interface TrainingState {
  readonly parameters: Float32Array;
  readonly momentum: Float32Array;
  readonly statistics: Float32Array;
  readonly scheduleState: ScheduleState;
}

export interface StepReport {
  /** Counted from 0; `version` step + 1 is what it left. */
  readonly step: number;
  readonly epoch: number;
  readonly samples: number;
  /** Mean over the mini-batch, in nats. */
  readonly loss: number;
  readonly top1: number;
  readonly learningRate: number;
  readonly gradientNorm: number;
  readonly seconds: number;
  /** The state after the step; valid until the step after the next one starts. */
  readonly state: TrainingState;
}

export interface EpochReport extends EvaluationResult {
  /** Version that was evaluated: steps done. */
  readonly version: number;
  /** The epoch of the last step before it. */
  readonly epoch: number;
}

export interface TrainingOptions {
  /** Stops after so many steps. @default all that the spec asks for */
  readonly steps?: number;
  /** Weights that it starts from. @default random ones, by the spec's seed */
  readonly initialWeights?: InitialWeights;
  /** Which kernels serve its 1x1 convolutions: a job's table, where its bits are wanted. @default the fixed rule */
  readonly kernels?: KernelTable | undefined;
  /** Shards of a step's mini-batch that are left out, by index. @default none */
  readonly excludedShards?: (step: number) => readonly number[];
  readonly onStep?: (report: StepReport) => void;
  readonly onEvaluation?: (report: EpochReport) => void;
}

export interface TrainingOutcome extends TrainingState {
  readonly steps: number;
  readonly parametersSha256: string;
  readonly stateSha256: string;
  readonly evaluation: EpochReport | undefined;
}

/** @throws Error when a gradient or a parameter is no longer finite, naming the step. */
export async function trainInProcess(
  spec: JobSpec,
  dataset: Dataset,
  options: TrainingOptions = {},
): Promise<TrainingOutcome> {
  const { training } = spec;
  const network = Network.create(spec.model, training.precision, {
    labelSmoothing: training.labelSmoothing,
    kernels: options.kernels,
  });
  try {
    const perEpoch = stepsPerEpoch(dataset.trainCount, training.batchSize);
    const totalSteps = totalStepsOf(training, dataset.trainCount);
    const steps = Math.min(options.steps ?? totalSteps, totalSteps);
    const run = new InProcessRun(spec, dataset, network, perEpoch, totalSteps, options.initialWeights);
    let evaluation: EpochReport | undefined;
    for (let step = 0; step < steps; step++) {
      // Not inside the call: without a listener its arguments would not be evaluated.
      const excluded = options.excludedShards?.(step) ?? [];
      const report = await run.step(step, excluded, evaluation?.version === step ? evaluation : undefined);
      options.onStep?.(report);
      const version = step + 1;
      const { everyEpochs } = spec.evaluation;
      if (everyEpochs > 0 && (version % (everyEpochs * perEpoch) === 0 || version === totalSteps)) {
        evaluation = { version, epoch: report.epoch, ...(await run.evaluate()) };
        options.onEvaluation?.(evaluation);
      }
    }
    const { parameters } = run.state;
    return {
      ...run.state,
      steps,
      parametersSha256: parametersSha256(parameters),
      stateSha256: stateSha256(run.state),
      evaluation,
    };
  } finally {
    network.dispose();
  }
}

/** What a contribution is before it joins the tree. */
interface Contribution {
  readonly gradient: Float32Array;
  readonly statistics: Float32Array;
}

class InProcessRun {
  state: TrainingState;
  /** The buffers that the next state is written into: those of the state before this one. */
  #next: TrainingState;
  readonly #ranges;

  constructor(
    private readonly spec: JobSpec,
    private readonly dataset: Dataset,
    private readonly network: Network,
    private readonly perEpoch: number,
    private readonly totalSteps: number,
    initialWeights: InitialWeights | undefined,
  ) {
    const { layout } = network;
    const { model } = spec;
    const { seed } = spec.training;
    const { parameters, statistics } =
      initialWeights === undefined ? initialState(model, layout, seed) : stateFromWeights(model, seed, initialWeights);
    const scheduleState = scheduleStateAtStart(spec.training.schedule);
    this.state = { parameters, statistics, momentum: new Float32Array(parameters.length), scheduleState };
    this.#next = {
      parameters: new Float32Array(parameters.length),
      statistics: new Float32Array(statistics.length),
      momentum: new Float32Array(parameters.length),
      scheduleState,
    };
    this.#ranges = decayRanges(layout, spec.training.optimizer);
  }

  /** @param evaluation that of the version which the step starts from, where there was one */
  async step(step: number, excluded: readonly number[], evaluation: EvaluationResult | undefined): Promise<StepReport> {
    const started = performance.now();
    const { training } = this.spec;
    const batch = miniBatchPositions(this.dataset.trainCount, training.batchSize, step);
    const { epoch, first } = batch;
    const shards = shardsOf(batch.count, training.shardSize).filter((_, shard) => !excluded.includes(shard));
    const count = shards.reduce((sum, shard) => sum + shard.count, 0);
    const tasks = tasksOf(shards.length, training.shardsPerTask);
    this.network.loadParameters(this.state.parameters, this.state.statistics);
    const tree = new TreeAccumulator<Contribution>(tasks.length, (left, right) => {
      addInto(left.gradient, right.gradient);
      addInto(left.statistics, right.statistics);
      return left;
    });
    const results: TaskResult[] = [];
    for (const [index, task] of tasks.entries()) {
      const inputs = await this.#prepare(epoch, first, shards, task);
      const { contribution, result } = this.#compute(inputs, count);
      tree.add(index, contribution);
      results.push(result);
    }
    const sum = tree.root as Contribution;
    const { schedule } = training;
    const scheduleState = scheduleAfter(schedule, this.state.scheduleState, evaluation && figuresOf(evaluation));
    const learningRate = learningRateAt(schedule, step, this.perEpoch, this.totalSteps, scheduleState);
    const gradientNorm = this.#commit(step, sum, learningRate, scheduleState);
    const total = (read: (result: TaskResult) => number): number => results.reduce((all, one) => all + read(one), 0);
    return {
      step,
      epoch,
      samples: count,
      loss: total(({ lossSum }) => lossSum) / count,
      top1: total(({ top1Hits }) => top1Hits) / count,
      learningRate,
      gradientNorm,
      seconds: (performance.now() - started) / 1000,
      state: this.state,
    };
  }

  async evaluate(): Promise<EvaluationResult> {
    this.network.loadParameters(this.state.parameters, this.state.statistics);
    const { model, evaluation: views, training } = this.spec;
    const shardSize = evaluationShardSize(model, views, training.shardSize);
    return evaluateAll([this.network], this.dataset, { shardSize, views });
  }

  async #prepare(epoch: number, first: number, shards: readonly Shard[], task: TaskShards): Promise<ShardInput[]> {
    const { training } = this.spec;
    const pixels = this.dataset.imageShape.reduce((product, side) => product * side, 1);
    const inputs: ShardInput[] = [];
    for (const shard of shards.slice(task.firstShard, task.firstShard + task.shardCount)) {
      const ids = sampleIds(training, epoch, this.dataset.trainCount, first + shard.first, shard.count);
      const images = new Float32Array(shard.count * pixels);
      const labels = new Int32Array(shard.count);
      await this.dataset.prepareTrain(ids, training.seed, epoch, this.spec.dataset.augmentation, images, labels);
      inputs.push({ images, labels });
    }
    return inputs;
  }

  #compute(
    inputs: readonly ShardInput[],
    miniBatchSamples: number,
  ): { contribution: Contribution; result: TaskResult } {
    const { parameterCount, statisticCount } = this.network.layout;
    const rounded = this.spec.training.wire === 'bfloat16';
    const sent = rounded ? new Uint16Array(parameterCount) : new Float32Array(parameterCount);
    const statistics = new Float32Array(statisticCount);
    const target = { gradient: sent, statistics, onProgress: () => undefined };
    const result = computeTask(this.network, inputs, miniBatchSamples, target);
    let gradient: Float32Array;
    if (sent instanceof Uint16Array) {
      gradient = new Float32Array(parameterCount);
      widenBfloat16(sent, gradient);
    } else {
      gradient = sent;
    }
    return { contribution: { gradient, statistics }, result };
  }

  /** The update of design.md's step 5. Returns the norm of the whole gradient, before any clipping. */
  #commit(step: number, sum: Contribution, learningRate: number, scheduleState: ScheduleState): number {
    const { optimizer } = this.spec.training;
    const next = this.#next;
    const squared = squaredNorm(sum.gradient);
    const finite = sgdOverRanges(
      {
        parameters: this.state.parameters,
        momentum: this.state.momentum,
        gradient: sum.gradient,
        outParameters: next.parameters,
        outMomentum: next.momentum,
        from: 0,
        to: next.parameters.length,
        learningRate,
        momentumFactor: optimizer.momentum,
        nesterov: optimizer.nesterov,
        scale: clipFactor(squared, optimizer.clipNorm),
      },
      this.#ranges,
    );
    const statisticsFinite = updateStatisticsRange({
      statistics: this.state.statistics,
      batch: sum.statistics,
      outStatistics: next.statistics,
      from: 0,
      to: next.statistics.length,
    });
    if (!finite || !statisticsFinite) throw new Error(`step ${step} gave parameters that are not finite`);
    this.#next = this.state;
    this.state = { ...next, scheduleState };
    return Math.sqrt(squared);
  }
}

function figuresOf({ lossSum, top1Hits, samples }: EvaluationResult): EvaluationFigures {
  return { loss: lossSum / samples, top1: top1Hits / samples };
}
