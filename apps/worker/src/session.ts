// One session with the coordinator: heartbeats, claims and releases up; answers, cancellations and drain down.
// Refuses to know how tasks are worked on; whoever opened it hears what the coordinator wants.
import type { ClientDuplexStream } from '@grpc/grpc-js';
import {
  type ImageCounts,
  type KernelTrialRequest,
  ReleaseReason as WireReason,
  type SessionRequest,
  type SessionResponse,
  type SpansRequest,
  type TaskKey as WireTaskKey,
} from '#proto/generated/lockstep/v1/pool.js';
import { hostClockMs, OffsetEstimate } from '#proto/host-clock.js';
import type { StepSpans } from '#proto/span-ring.js';
import { entryId, fromWireKey, type TaskEntry, type TaskKey, toWireKey } from '#proto/task-entry.js';
import { wireErrorOf } from '#proto/wire-error.js';
import type { PoolCaller } from './pool-caller.js';
import { messageOf, type ReleaseReason } from './withdrawal.js';

/** The coordinator answers claims from memory; this long without one means that it does not hear us. */
const claimTimeoutMs = 10_000;
/** Messages that the connection has not taken; more means that it is stuck. */
const maxUnsent = 256;

export interface Vitals {
  readonly progress: number;
  readonly computing: TaskKey | undefined;
  readonly residentBytes: number;
  readonly tensors: number;
  readonly images: ImageCounts;
}

export interface SessionHandlers {
  /** Asked for at each heartbeat. */
  vitals(): Vitals;
  /** `id` is that of the queue entry (task-entry.ts). */
  onCancel(id: string): void;
  onYield(id: string): void;
  /** The coordinator has this task's gradient, and has not decided on it yet. */
  onPushHeld(id: string): void;
  onDrain(): void;
  onEndJob(jobId: string): void;
  /** What this worker did for the steps [from, to] of a job. */
  spansOf(jobId: string, from: number, to: number): StepSpans;
  /** Which kernels are the quicker ones for a job with this spec: a table as JSON. Rejects with the cause. */
  tryKernels(specJson: string): Promise<string>;
}

const wireReasons: Readonly<Record<ReleaseReason, WireReason>> = {
  draining: WireReason.DRAINING,
  yielded: WireReason.YIELDED,
  failed: WireReason.FAILED,
  'no-parameters': WireReason.NO_PARAMETERS,
  undelivered: WireReason.UNDELIVERED,
};

export class Session {
  /** Resolves with the cause, for people, when the session is over; all claims are void then. */
  readonly ended: Promise<string>;
  readonly #stream: ClientDuplexStream<SessionRequest, SessionResponse>;
  readonly #handlers: SessionHandlers;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #claims = new Map<string, (go: boolean) => void>();
  readonly #clock = new OffsetEstimate();
  #end!: (cause: string) => void;
  #over = false;
  #unsent = 0;

  /** Opens the stream and says hello. `workerId` and `heartbeatIntervalMs` come from the registration. */
  constructor(pool: PoolCaller, workerId: string, heartbeatIntervalMs: number, handlers: SessionHandlers) {
    this.#handlers = handlers;
    const ended = new Promise<string>((resolve) => (this.#end = resolve));
    this.ended = ended.then((cause) => this.#cleanUp(cause));
    this.#stream = pool.client.session(pool.metadata);
    this.#stream.on('data', (response: SessionResponse) => this.#hear(response));
    this.#stream.on('end', () => this.#finish('the coordinator ended the session'));
    this.#stream.on('error', (error: Error) =>
      this.#finish(wireErrorOf(error, { call: 'Pool.Session', peer: pool.address }).message),
    );
    this.#send({ $case: 'hello', value: { workerId } });
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatIntervalMs);
  }

  /** Asks for leave to work on a task. False when the answer is no or the session ends first. */
  claim(task: TaskEntry): Promise<boolean> {
    if (this.#over) return Promise.resolve(false);
    const id = entryId(task.key, task.attempt);
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#abandon('the coordinator does not answer claims'), claimTimeoutMs);
      this.#claims.get(id)?.(false);
      this.#claims.set(id, (go) => {
        clearTimeout(timer);
        this.#claims.delete(id);
        resolve(go);
      });
      this.#send({ $case: 'claim', value: { key: toWireKey(task.key), attempt: task.attempt } });
    });
  }

  /** Hands a claimed task back. After the session's end there is nobody to tell, and no need. */
  release(task: TaskEntry, reason: ReleaseReason, detail: string): void {
    const value = { key: toWireKey(task.key), attempt: task.attempt, reason: wireReasons[reason], detail };
    this.#send({ $case: 'release', value });
  }

  /** Ends the session once everything said has left, at the latest after `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    if (this.#over) return;
    this.#stream.end();
    const timer = setTimeout(() => this.#abandon('this worker ended the session'), deadlineMs);
    await this.ended;
    clearTimeout(timer);
  }

  #hear({ message }: SessionResponse): void {
    switch (message?.$case) {
      case 'claimAnswer':
        return this.#about(message.value, (id) => this.#claims.get(id)?.(message.value.go));
      case 'cancelTask':
        return this.#about(message.value, (id) => this.#handlers.onCancel(id));
      case 'yieldTask':
        return this.#about(message.value, (id) => this.#handlers.onYield(id));
      case 'pushHeld':
        return this.#about(message.value, (id) => this.#handlers.onPushHeld(id));
      case 'drain':
        return this.#handlers.onDrain();
      case 'endJob':
        return this.#handlers.onEndJob(message.value.jobId);
      case 'heartbeatAnswer':
        return this.#clock.note(message.value.sentMs, message.value.coordinatorMs, hostClockMs());
      case 'spansRequest':
        return this.#tellSpans(message.value);
      case 'kernelTrialRequest':
        return void this.#tryKernels(message.value);
      case undefined:
        // A newer coordinator may say things that this worker does not know.
        return;
    }
  }

  #about({ key, attempt }: { key: WireTaskKey | undefined; attempt: number }, act: (id: string) => void): void {
    const known = fromWireKey(key);
    if (known !== undefined) act(entryId(known, attempt));
  }

  #tellSpans({ request, jobId, fromStep, toStep }: SpansRequest): void {
    const { spans, firstWholeStep } = this.#handlers.spansOf(jobId, fromStep, toStep);
    const { offsetMs, errorMs = 0 } = this.#clock.best ?? {};
    const value = { request, spans: [...spans], firstWholeStep, clockOffsetMs: offsetMs, clockErrorMs: errorMs };
    this.#send({ $case: 'spans', value });
  }

  async #tryKernels({ request, specJson }: KernelTrialRequest): Promise<void> {
    const { kernelsJson, detail } = await this.#handlers.tryKernels(specJson).then(
      (json) => ({ kernelsJson: json, detail: '' }),
      (error: unknown) => ({ kernelsJson: '', detail: messageOf(error) }),
    );
    this.#send({ $case: 'kernelTrial', value: { request, kernelsJson, detail } });
  }

  #beat(): void {
    const { computing, ...vitals } = this.#handlers.vitals();
    const key = computing === undefined ? undefined : toWireKey(computing);
    const value = { ...vitals, computing: key, sentMs: hostClockMs() };
    this.#send({ $case: 'heartbeat', value });
  }

  #send(message: SessionRequest['message']): void {
    if (this.#over) return;
    if (this.#unsent >= maxUnsent) return this.#abandon('the coordinator does not take messages');
    this.#unsent += 1;
    this.#stream.write({ message }, () => (this.#unsent -= 1));
  }

  /** For when the other side does not end it. */
  #abandon(cause: string): void {
    this.#finish(cause);
    this.#stream.cancel();
  }

  #finish(cause: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#end(cause);
  }

  #cleanUp(cause: string): string {
    clearInterval(this.#heartbeat);
    for (const answer of [...this.#claims.values()]) answer(false);
    return cause;
  }
}
