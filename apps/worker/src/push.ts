// Delivers one gradient: to every slice its blocks, each the moment it is final, from the end of the vector downwards.
// Refuses to know how gradients are computed and what becomes of a refused one.
import { blockMessage, type BlockRange, blocksOfSlice, blockTable, throughSegment } from '#proto/blocks.js';
import { pushStream } from '#proto/calls.js';
import { sealedEnd } from '#proto/contribution-seal.js';
import { Outcome } from '#proto/generated/lockstep/v1/pool.js';
import {
  type PushGradientRequest,
  type PushGradientResponse,
  type PushHeader,
  type PushTotals,
  WireType,
} from '#proto/generated/lockstep/v1/reducer.js';
import type { Segment } from '#proto/segment.js';
import type { SliceCaller, Slices } from './pool-caller.js';

/** The whole call, which begins with the computing. */
const pushDeadlineMs = 3_600_000;
/**
 * A computed gradient waits while the slices have no room for it, and for its answer while another worker has to prove it.
 * Longer than this without a block that leaves or a word of the coordinator that it has it, something is wrong.
 */
const silenceMs = 300_000;

/** What every slice's header says alike. */
export type Contribution = Omit<PushHeader, 'blocks' | 'wireType' | 'segment'>;

/** All that is known when computing ends. */
export type ComputedTotals = Omit<PushTotals, 'sendSeconds'>;

export interface PushOptions {
  readonly contribution: Contribution;
  /** [parameters] float32 or bits of bfloat16, being filled from its end. */
  readonly gradient: Float32Array | Uint16Array;
  /** [statistics], final with the totals. */
  readonly statistics: Float32Array;
  /** Name of the task, for error messages. */
  readonly task: string;
  readonly signal: AbortSignal;
}

/** Not what was sent arrived. */
const broken: ReadonlySet<Outcome> = new Set([Outcome.INCOMPLETE, Outcome.CHECKSUM_MISMATCH]);

export class GradientPush {
  /** The answer; all slices give the same one, as the trainer decides once. Rejects with WireError. */
  readonly answer: Promise<PushGradientResponse>;
  /**
   * Resolves when gradient and statistics will not be read again: all slices' streams have been written whole (a block is
   * copied when it is encoded), or the push is over. The answer may come much later. Never rejects.
   */
  readonly sent: Promise<void>;
  readonly #gradient: Float32Array | Uint16Array;
  readonly #statistics: Float32Array;
  readonly #over = new AbortController();
  /** Through which the gradient goes to a coordinator on this host. */
  readonly #segment: Segment | undefined;
  #firstFinal: number;
  #totals: ComputedTotals | undefined;
  #silence: NodeJS.Timeout | undefined;
  #finishedMs = 0;
  #slicesUnsent: number;
  #allSent!: () => void;
  #waiters: (() => void)[] = [];

  /** Opens a stream to each slice and sends the headers. */
  constructor(slices: Slices, options: PushOptions) {
    this.#gradient = options.gradient;
    this.#statistics = options.statistics;
    this.#firstFinal = options.gradient.length;
    this.#slicesUnsent = slices.count;
    this.sent = new Promise((resolve) => (this.#allSent = resolve));
    const { sharedMemory } = slices;
    const segment = (this.#segment = sharedMemory?.take());
    this.answer = this.#deliver(slices, options);
    if (segment !== undefined) {
      // An answer to a contribution that was not taken says nothing of what a slice still reads.
      this.answer.then(
        ({ outcome }) => {
          if (outcome === Outcome.ACCEPTED) sharedMemory?.give(segment);
          else sharedMemory?.discard(segment, broken.has(outcome));
        },
        () => sharedMemory?.discard(segment, false),
      );
    }
    // Whoever computes looks at the answer only in the end.
    this.answer.then(this.#allSent, this.#allSent);
  }

  /** Elements from this one on are final. */
  advance(firstFinalElement: number): void {
    this.#firstFinal = Math.min(this.#firstFinal, firstFinalElement);
    this.#wake();
  }

  /** All is final. */
  finish(totals: ComputedTotals): void {
    this.#finishedMs = performance.now();
    this.#firstFinal = 0;
    this.#totals = totals;
    this.#wake();
    const silent = `no answer, and no word that it is awaited, for ${silenceMs / 1000} s`;
    this.#silence = setTimeout(() => this.abandon(new Error(silent)), silenceMs);
    const stop = (): void => {
      clearTimeout(this.#silence);
      this.#silence = undefined;
    };
    this.answer.then(stop, stop);
  }

  /** The coordinator says that it has this contribution and has not decided yet: waiting is right. */
  held(): void {
    this.#silence?.refresh();
  }

  /** Ends the streams; nothing is delivered. */
  abandon(reason: unknown): void {
    this.#over.abort(reason);
  }

  async #deliver(slices: Slices, options: PushOptions): Promise<PushGradientResponse> {
    const table = blockTable(this.#gradient.length, this.#statistics.length);
    const signal = AbortSignal.any([options.signal, this.#over.signal]);
    const answers = slices.callers.map(async (caller) => {
      const answer = await this.#deliverSlice(
        caller,
        blocksOfSlice(table, caller.slice, slices.count),
        options,
        signal,
      );
      // Refused by one is refused by all: the others need not hear the rest.
      if (answer.outcome !== Outcome.ACCEPTED) throw new Refusal(answer);
      return answer;
    });
    try {
      const [first] = await Promise.all(answers);
      if (first === undefined) throw new Error('The coordinator named no reducer slice.');
      return first;
    } catch (error) {
      this.abandon(error);
      await Promise.allSettled(answers);
      if (error instanceof Refusal) return error.answer;
      throw error;
    }
  }

  #deliverSlice(
    caller: SliceCaller,
    ranges: readonly BlockRange[],
    options: PushOptions,
    signal: AbortSignal,
  ): Promise<PushGradientResponse> {
    const wireType = this.#gradient instanceof Uint16Array ? WireType.BFLOAT16 : WireType.FLOAT32;
    const segment = this.#segment?.name ?? '';
    const header: PushHeader = { ...options.contribution, wireType, blocks: ranges.length, segment };
    const site = { call: 'Reducer.PushGradient', peer: caller.address, task: options.task };
    return pushStream(
      site,
      { deadlineMs: pushDeadlineMs, signal },
      (grpcOptions, done) => caller.client.pushGradient(caller.metadata, grpcOptions, done),
      this.#messages(header, ranges, signal),
    );
  }

  async *#messages(
    header: PushHeader,
    ranges: readonly BlockRange[],
    signal: AbortSignal,
  ): AsyncGenerator<PushGradientRequest> {
    yield { message: { $case: 'header', value: header } };
    const parameters = ranges.filter(({ region }) => region === 'parameters');
    for (const range of parameters.reverse()) {
      await this.#until(() => this.#firstFinal <= range.first, signal);
      const block = blockMessage(this.#gradient, range);
      const value = throughSegment(block, range.first, this.#gradient.BYTES_PER_ELEMENT as 2 | 4, this.#segment);
      yield { message: { $case: 'block', value } };
      this.held();
    }
    const totals = await this.#until(() => this.#totals, signal);
    for (const range of ranges) {
      if (range.region === 'parameters') continue;
      yield { message: { $case: 'block', value: blockMessage(this.#statistics, range) } };
    }
    const sendSeconds = (performance.now() - this.#finishedMs) / 1000;
    yield { message: { $case: 'end', value: sealedEnd(header, { ...totals, sendSeconds }) } };
    // Asked for more, which is only done when the end has left.
    this.#slicesUnsent -= 1;
    if (this.#slicesUnsent === 0) this.#allSent();
  }

  async #until<T>(condition: () => T | false | undefined, signal: AbortSignal): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const value = condition();
      if (value !== false && value !== undefined) return value;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          signal.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiters.push(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    }
  }

  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}

class Refusal extends Error {
  override readonly name = 'Refusal';
  constructor(readonly answer: PushGradientResponse) {
    super(answer.detail);
  }
}
