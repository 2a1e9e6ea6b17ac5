// One job under a random schedule of moves and faults: the real trainer, task board, collector and slices; simulated
// workers, queue and checkpoints. Time is a number. Answers with what the ledger and the final state say.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { Dataset } from '#model/datasets/dataset.js';
import { resolveJobSpec } from '#model/job-spec.js';
import type { ParameterLayout } from '#model/parameters.js';
import { randomStream } from '#model/random.js';
import { pino } from 'pino';
import type { AuditReport } from '../../jobs/ports.js';
import { WorkerRegistry } from '../../workers/worker-registry.js';
import { audit } from '../audit.js';
import { Ledger, readLedger } from '../ledger.js';
import { RunningJobs } from '../running-jobs.js';
import { planStep } from '../step-plan.js';
import { Trainer } from '../trainer.js';
import type { TrainingServices } from '../training-job.js';
import { SimulatedCheckpoints, SimulatedQueue, SimulatedSlices } from './simulated-services.js';
import { type Fault, SimulatedWorker } from './simulated-worker.js';

const trainCount = 13;
const parameterCount = 6;
const statisticCount = 2;
const layout = {
  parameters: [{ name: 'w', shape: [parameterCount], offset: 0, size: parameterCount, role: 'filter' }],
  statistics: [{ name: 's', shape: [statisticCount], offset: 0, size: statisticCount, role: 'mean' }],
  parameterCount,
  statisticCount,
  hash: 'simulated',
} satisfies ParameterLayout;
const dataset = { kind: 'synthetic', trainCount, testCount: 20, indexHash: '' } as unknown as Dataset;
/** After this many turns no more faults happen, so that the job can end. */
const faultyTurns = 400;
const longestRun = 20_000;
const mostStuck = 3;

export interface Scenario {
  readonly seed: number;
  readonly workers: number;
  readonly slices: number;
  readonly wire: 'float32' | 'bfloat16';
  /** A sample whose gradient is never finite, and what the job does about it. */
  readonly poison?: { readonly sampleId: number; readonly onNotFinite: 'pause' | 'exclude' };
  /** Share of tasks that two workers must agree on. */
  readonly proofShare?: number;
  /** Idle workers get copies of what takes long. @default true */
  readonly speculation?: boolean;
  /** The first worker computes other bits than the others, until it is sent away. */
  readonly biased?: boolean;
  /** Room for contributions in the slices. */
  readonly stagingBytes: number;
  /** Share of turns in which something goes wrong. */
  readonly faultRate: number;
}

export interface Outcome {
  readonly parameters: Float32Array;
  readonly momentum: Float32Array;
  readonly statistics: Float32Array;
  readonly audit: AuditReport;
  readonly faults: Readonly<Record<string, number>>;
  /** Workers that were told to leave. */
  readonly sentAway: number;
}

function specOf({ wire, poison, proofShare, speculation }: Scenario) {
  return resolveJobSpec({
    model: { architecture: 'resnet8' },
    dataset: { kind: 'synthetic', size: trainCount, testSize: 20 },
    training: {
      steps: 5,
      batchSize: 6,
      shardSize: 2,
      // Two shards a task where one of them is to be found.
      shardsPerTask: poison === undefined ? 1 : 2,
      seed: 7,
      wire,
      schedule: { kind: 'constant', learningRate: 0.1 },
    },
    faults: {
      onNotFinite: poison?.onNotFinite ?? 'pause',
      proofShare: proofShare ?? 0,
      speculation: speculation ?? true,
    },
    evaluation: { everyEpochs: 1 },
    checkpoint: { everySteps: 2 },
  });
}

/** Runs a scenario to the job's end. Throws when the job does not end, or the trainer fails. */
export async function simulate(scenario: Scenario): Promise<Outcome> {
  // Thousands of ledgers: where there is a file system in memory, their fsyncs cost nothing.
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'simulation-'));
  const run = new Simulation(scenario, join(folder, 'ledger.txt'));
  try {
    return await run.toEnd();
  } finally {
    run.close();
    rmSync(folder, { recursive: true });
  }
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #random;
  readonly #spec;
  readonly #ledgerPath: string;
  readonly #queue = new SimulatedQueue();
  readonly #checkpoints: SimulatedCheckpoints;
  readonly #faults: Record<string, number> = {};
  #now = 0;
  #sentAway = 0;
  #lineage = 0;
  #notFinite = new Set<number>();
  #stuck = 0;
  #workers: SimulatedWorker[] = [];
  #coordinator!: {
    registry: WorkerRegistry;
    slices: SimulatedSlices;
    jobs: RunningJobs;
    trainer: Trainer;
    ledger: Ledger;
  };
  #ended: { outcome?: string; error?: Error } = {};

  constructor(scenario: Scenario, ledgerPath: string) {
    this.#scenario = scenario;
    this.#ledgerPath = ledgerPath;
    this.#random = randomStream(scenario.seed, 'simulation');
    this.#spec = specOf(scenario);
    this.#checkpoints = new SimulatedCheckpoints({
      parameters: Float32Array.from({ length: parameterCount }, (_, index) => 0.3 * index - 0.7),
      statistics: new Float32Array(statisticCount),
    });
    this.#startCoordinator();
  }

  async toEnd(): Promise<Outcome> {
    for (let count = 0; this.#ended.outcome === undefined; count += 1) {
      if (this.#ended.error !== undefined) throw this.#ended.error;
      if (count > longestRun) throw new Error(`The job does not end: ${JSON.stringify(this.#scenario)}`);
      const faulty = count < faultyTurns && this.#random.uniform() < this.#scenario.faultRate;
      if (!(faulty && this.#misfortune())) this.#move(count >= faultyTurns);
      this.#letLeave();
      await turn();
    }
    const { parameters, momentum, statistics } = this.#checkpoints.newest;
    const { records, problems } = readLedger(this.#ledgerPath);
    const { training } = this.#spec;
    const expected = (step: number, excluded?: readonly number[]) => planStep(training, trainCount, step, excluded);
    const report = audit(records, training.steps!, expected, problems);
    return { parameters, momentum, statistics, audit: report, faults: this.#faults, sentAway: this.#sentAway };
  }

  close(): void {
    this.#stopCoordinator();
  }

  #startCoordinator(): void {
    this.#lineage += 1;
    const registry = new WorkerRegistry(() => this.#now);
    const slices = new SimulatedSlices(this.#scenario.slices);
    const jobs = new RunningJobs(registry, slices);
    const ledger = Ledger.open(this.#ledgerPath);
    const services: TrainingServices = {
      slices,
      queue: this.#queue,
      workers: registry,
      checkpoints: this.#checkpoints,
      ledger,
      probe: { checksum: null, keep: () => undefined },
      stagingBytes: this.#scenario.stagingBytes,
      spans: { record: () => undefined },
      metrics: { append: () => undefined, truncateFrom: () => undefined, flush: () => undefined },
      log: pino({ level: 'silent' }),
      now: () => this.#now,
      onOpened: () => undefined,
      onProgress: () => undefined,
    };
    const job = {
      id: 'job',
      spec: this.#spec,
      lineage: this.#lineage,
      layout,
      dataset,
      checkpointFolder: '',
      versions: {},
      classId: undefined,
      rollback: false,
      numericsClass: 'simulated',
    };
    const trainer = new Trainer(job, services);
    jobs.add(trainer, {
      specJson: '',
      layoutHash: '',
      datasetLocation: '',
      datasetIndex: '',
      datasetHash: '',
      datasetContentsHash: '',
      datasetFiles: [],
      probeJson: '',
      kernelsJson: '',
    });
    const current = { registry, slices, jobs, trainer, ledger };
    this.#coordinator = current;
    trainer.run(new AbortController().signal).then(
      (outcome) => {
        if (this.#coordinator === current) this.#ended.outcome = outcome;
      },
      (error: Error) => {
        if (this.#coordinator === current) this.#ended.error = error;
      },
    );
    this.#workers = Array.from({ length: this.#scenario.workers }, () => this.#newWorker());
    this.#workers[0]!.biased = this.#scenario.biased === true && this.#sentAway === 0;
  }

  /** What a SIGKILL leaves: the ledger's file, the checkpoints, the queue. */
  #stopCoordinator(): void {
    const { trainer, ledger } = this.#coordinator;
    for (const worker of this.#workers) worker.die();
    clearTimers(trainer);
    ledger.close();
  }

  /** Who was told to leave, leaves; another comes. */
  #letLeave(): void {
    this.#workers.forEach((worker, index) => {
      if (!worker.leaving) return;
      this.#sentAway += 1;
      this.#replace(index, () => worker.die());
    });
  }

  #newWorker(): SimulatedWorker {
    const { registry, jobs, slices } = this.#coordinator;
    const order = this.#spec.training;
    const poisoned = this.#scenario.poison?.sampleId;
    return new SimulatedWorker({ registry, jobs, slices, queue: this.#queue, trainCount, order, poisoned });
  }

  /** One move of anybody; time passes only sometimes, unless nobody can move. */
  #move(calm: boolean): void {
    if (calm) {
      this.#queue.away = false;
      for (const worker of this.#workers) worker.frozen = false;
    }
    const moves = [...this.#coordinator.slices.deliveries(), ...this.#workers.flatMap((worker) => worker.moves())];
    if (moves.length > 0 && this.#random.uniform() < 0.95) moves[this.#random.below(moves.length)]!();
    else this.#passTime(100 + this.#random.below(1500));
  }

  #passTime(milliseconds: number): void {
    this.#now += milliseconds;
    for (const worker of this.#workers) worker.heartbeat();
    void this.#coordinator.trainer.board.reconcile();
  }

  /** False when the misfortune that was drawn cannot happen now. */
  #misfortune(): boolean {
    const index = this.#random.below(this.#workers.length);
    const worker = this.#workers[index]!;
    const computing = this.#workers.find((candidate) => candidate.computes);
    const kinds = [
      ['worker killed', () => this.#replace(index, () => worker.die())],
      ['worker killed with an entry', () => this.#replace(index, () => worker.dieWithEntry())],
      ['worker frozen', () => (worker.frozen = true)],
      ['worker thawed', () => (worker.frozen = false)],
      ['worker stuck', worker.prepares && this.#seldom(() => (worker.stuck = true))],
      ['long wait', () => this.#passTime(11_000)],
      ['queue flushed', () => this.#queue.flush()],
      ['queue away', () => (this.#queue.away = true)],
      ['queue back', () => (this.#queue.away = false)],
      ['coordinator killed', () => this.#restart()],
      ['sent twice', computing && (() => computing.finish(undefined, 2))],
      ...(['flipped bit', 'cut', 'wrong samples', 'wrong version'] as const).map(
        (fault: Fault) => [fault, computing && (() => computing.finish(fault))] as const,
      ),
      ['not finite', computing && this.#onceAStep(() => computing.finish('not finite'))],
    ] as const;
    const [name, happen] = kinds[this.#random.below(kinds.length)]!;
    if (happen === undefined || happen === false) return false;
    happen();
    this.#faults[name] = (this.#faults[name] ?? 0) + 1;
    return true;
  }

  /** Twice in one task would rightly pause the job. */
  #onceAStep(happen: () => void): (() => void) | undefined {
    const { step } = this.#coordinator.trainer.progress;
    if (this.#notFinite.has(step)) return undefined;
    return () => {
      this.#notFinite.add(step);
      happen();
    };
  }

  /** Each time costs a lease of minutes, and too often in one task would rightly pause the job. */
  #seldom(happen: () => void): (() => void) | undefined {
    if (this.#stuck >= mostStuck) return undefined;
    return () => {
      this.#stuck += 1;
      happen();
    };
  }

  #replace(index: number, end: () => void): void {
    end();
    this.#workers[index] = this.#newWorker();
  }

  #restart(): void {
    this.#stopCoordinator();
    this.#startCoordinator();
  }
}

/** A killed process has no timers either; nothing else of it may act on the queue. */
function clearTimers(trainer: Trainer): void {
  trainer.board.halt();
}
