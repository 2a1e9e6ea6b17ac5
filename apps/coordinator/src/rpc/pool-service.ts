// Translates Pool calls into what the training and the registry of workers understand, and their answers back.
// Decides nothing itself, but whether a worker speaks this protocol.
import { type sendUnaryData, type ServerDuplexStream, status } from '@grpc/grpc-js';
import {
  type PoolServer,
  ReleaseReason,
  type SharedMemory,
  type SessionRequest,
  type SessionResponse,
} from '#proto/generated/lockstep/v1/pool.js';
import { hostClockMs } from '#proto/host-clock.js';
import { fromWireKey, taskName } from '#proto/task-entry.js';
import type { Logger } from '../log.js';
import { toWireOutcome } from '../training/outcome.js';
import type { RunningJobs } from '../training/running-jobs.js';
import { queueNameOf } from '../workers/numerics-class.js';
import type { KernelTrials } from '../workers/kernel-trials.js';
import type { SpanRequests } from '../workers/span-requests.js';
import type { PoolWorker, WorkerRegistry } from '../workers/worker-registry.js';

/** Goes up with every change that an older worker would get wrong. */
export const protocolVersion = 2;
const heartbeatIntervalMs = 1000;

/** What a worker could not do, where that is why it gives a task back. */
const complaints: Partial<Record<ReleaseReason, string>> = {
  [ReleaseReason.FAILED]: 'compute',
  [ReleaseReason.NO_PARAMETERS]: 'get the parameters of',
  [ReleaseReason.UNDELIVERED]: 'deliver',
};

export interface PoolServiceOptions {
  readonly registry: WorkerRegistry;
  readonly jobs: RunningJobs;
  readonly spanRequests: SpanRequests;
  readonly kernelTrials: KernelTrials;
  readonly queuePrefix: string;
  /** host:port of each slice. */
  readonly reducerAddresses: readonly string[];
  /** Undefined where workers of this host are to use the network too. */
  readonly sharedMemory: SharedMemory | undefined;
  /** URL below which workers fetch what they do not see of the datasets folder. */
  readonly datasetsUrl: string;
  readonly log: Logger;
}

export function createPoolService(options: PoolServiceOptions): PoolServer {
  const { registry, jobs, log } = options;
  return {
    register: (call, answer) => {
      const { protocolVersion: spoken, lockstepVersion, name, numericsClass, memoryBytes, pid } = call.request;
      if (spoken !== protocolVersion) {
        const detail = `The worker (Lockstep ${lockstepVersion}) speaks protocol ${spoken}, the coordinator ${protocolVersion}; run the same version of Lockstep on both.`;
        return refuse(answer, status.FAILED_PRECONDITION, detail);
      }
      if (numericsClass === undefined)
        return refuse(answer, status.INVALID_ARGUMENT, 'The worker names no numerics class.');
      const worker = registry.register({ name: name || `worker-${pid}`, numericsClass, memoryBytes, pid });
      answer(null, {
        workerId: worker.id,
        classId: worker.classId,
        queueName: queueNameOf(worker.classId),
        queuePrefix: options.queuePrefix,
        reducerAddresses: [...options.reducerAddresses],
        heartbeatIntervalMs,
        sharedMemory: options.sharedMemory,
      });
    },

    session: (call) => new WorkerSession(call, options).serve(),

    describeJob: (call, answer) => {
      const description = jobs.describe(call.request.jobId);
      if (description === undefined) refuse(answer, status.NOT_FOUND, `Job ${call.request.jobId} does not run here.`);
      else answer(null, { ...description, datasetsUrl: options.datasetsUrl });
    },

    reportProbe: (call, answer) => {
      const { workerId, jobId, checksum } = call.request;
      const worker = registry.get(workerId);
      if (worker === undefined) return refuse(answer, status.INVALID_ARGUMENT, 'The report names no known worker.');
      const outcome = jobs.probed(jobId, worker, checksum);
      if (outcome === 'not_admitted') {
        log.error(
          { job: jobId, worker: worker.name, checksum },
          `Worker ${worker.name} does not compute the same bits as the job's first worker; it is sent away.`,
        );
      }
      const detail =
        outcome === 'accepted'
          ? ''
          : `Job ${jobId} does not take this worker: its result for the probe differs (${outcome}).`;
      answer(null, { outcome: toWireOutcome(outcome), detail });
    },

    reportEvaluation: (call, answer) => {
      const { workerId, attempt, samples, lossSum, top1Hits, top5Hits, computeSeconds } = call.request;
      const worker = registry.get(workerId);
      const key = fromWireKey(call.request.key);
      if (key === undefined || worker === undefined) {
        return refuse(answer, status.INVALID_ARGUMENT, 'The report names no known worker and task.');
      }
      const result = { attempt, samples, lossSum, top1Hits, top5Hits, computeSeconds };
      const outcome = jobs.evaluated(key, worker, result);
      answer(null, {
        outcome: toWireOutcome(outcome),
        detail: outcome === 'accepted' ? '' : `${taskName(key)}: ${outcome}`,
      });
    },
  };
}

/** One worker's session, from its hello to the end of the stream. */
class WorkerSession {
  readonly #call: ServerDuplexStream<SessionRequest, SessionResponse>;
  readonly #registry: WorkerRegistry;
  readonly #jobs: RunningJobs;
  readonly #spanRequests: SpanRequests;
  readonly #kernelTrials: KernelTrials;
  readonly #log: Logger;
  #worker: PoolWorker | undefined;

  constructor(
    call: ServerDuplexStream<SessionRequest, SessionResponse>,
    { registry, jobs, spanRequests, kernelTrials, log }: PoolServiceOptions,
  ) {
    this.#call = call;
    this.#registry = registry;
    this.#jobs = jobs;
    this.#spanRequests = spanRequests;
    this.#kernelTrials = kernelTrials;
    this.#log = log;
  }

  serve(): void {
    this.#call.on('data', ({ message }: SessionRequest) => {
      if (message !== undefined) this.#take(message);
    });
    this.#call.on('end', () => {
      this.#end('ended its session');
      this.#call.end();
    });
    this.#call.on('cancelled', () => this.#end('is gone'));
    this.#call.on('error', (error: Error) => this.#end(`is gone: ${error.message}`));
  }

  #take(message: NonNullable<SessionRequest['message']>): void {
    if (message.$case === 'hello') return this.#hello(message.value.workerId);
    const worker = this.#worker;
    if (worker === undefined) return this.#fail(status.FAILED_PRECONDITION, 'A session begins with its hello.');
    switch (message.$case) {
      case 'heartbeat': {
        const { progress, computing, residentBytes, tensors, sentMs, images } = message.value;
        const coordinatorMs = hostClockMs();
        if (sentMs > 0) worker.send?.({ $case: 'heartbeatAnswer', value: { sentMs, coordinatorMs } });
        const key = fromWireKey(computing);
        const report = {
          progress,
          computing: key === undefined ? null : taskName(key),
          residentBytes,
          tensors,
          images,
        };
        return this.#registry.heartbeat(worker, report);
      }
      case 'spans':
        return this.#spanRequests.answered(worker, message.value);
      case 'kernelTrial':
        return this.#kernelTrials.answered(worker, message.value);
      case 'claim': {
        const { attempt } = message.value;
        const key = fromWireKey(message.value.key);
        if (key === undefined || message.value.key === undefined)
          return this.#fail(status.INVALID_ARGUMENT, 'The claim names no task.');
        const go = this.#jobs.claim(key, attempt, worker);
        return worker.send?.({ $case: 'claimAnswer', value: { key: message.value.key, attempt, go } });
      }
      case 'release': {
        const { reason, detail, attempt } = message.value;
        const key = fromWireKey(message.value.key);
        if (key === undefined) return this.#fail(status.INVALID_ARGUMENT, 'The release names no task.');
        const couldNot = complaints[reason];
        if (couldNot === undefined) return this.#jobs.release(key, attempt, worker);
        const complaint = `Worker ${worker.name} could not ${couldNot} ${taskName(key)}: ${detail}`;
        this.#log.warn({ worker: worker.name }, complaint);
        if (reason === ReleaseReason.FAILED) this.#jobs.failed(key, worker, detail);
        this.#jobs.undone(key, attempt, worker, complaint);
      }
    }
  }

  #hello(workerId: string): void {
    if (this.#worker !== undefined) return this.#fail(status.FAILED_PRECONDITION, 'The session has its hello already.');
    const worker = this.#registry.connect(workerId, (message) => this.#call.write({ message }));
    if (worker === undefined) {
      return this.#fail(status.NOT_FOUND, 'The coordinator does not know this worker (any more); register again.');
    }
    this.#worker = worker;
    this.#log.info({ worker: worker.name, id: worker.id }, `Worker ${worker.name} joined (${worker.description}).`);
  }

  #end(why: string): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    this.#registry.disconnect(worker);
    this.#log.info({ worker: worker.name, id: worker.id }, `Worker ${worker.name} ${why}.`);
  }

  #fail(code: status, details: string): void {
    this.#call.emit('error', { code, details, message: details });
  }
}

function refuse<Response>(answer: sendUnaryData<Response>, code: status, details: string): void {
  answer({ code, details, name: 'Error', message: details });
}
