// Recognises the frames of gradients on their way through proxies before the slices: whose they are, and how far they are.
// Refuses to do harm; whoever asked decides what becomes of the frame.
import { PushGradientRequest, type PushHeader } from '#proto/generated/lockstep/v1/reducer.js';
import type { FaultProxy, HeldFrame, PassingFrame } from './fault-proxy.js';
import { frameTypes } from './http2-frames.js';

/**
 * `begun`: the header, before the task is computed. `upload`: in the middle of a block. `answer`: all is delivered and
 * decided, but the worker does not know it yet.
 */
export type PushPhase = 'begun' | 'upload' | 'answer';

export interface HeldPush extends HeldFrame {
  readonly header: PushHeader;
}

/** gRPC puts a flag and a length before each message. */
const prefixBytes = 5;
/** More than any header and totals: what is longer carries a block. */
const inBlockBytes = 32 * 1024;

export class PushWatch {
  readonly #proxies: readonly FaultProxy[];
  readonly #headers = new Map<string, PushHeader>();
  /** Pushes seen so far, each on each slice. */
  begun = 0;
  readonly #stops: (() => void)[];

  /** @param onBegun hears of every push that begins */
  constructor(proxies: readonly FaultProxy[], onBegun: (header: PushHeader, slice: number) => void = () => undefined) {
    this.#proxies = proxies;
    this.#stops = proxies.map((proxy, slice) =>
      proxy.watch((frame) => {
        if (frame.from === 'server' && frame.endsStream) this.#headers.delete(`${slice}/${frame.call}`);
        const header = headerOf(frame);
        if (header === undefined) return;
        this.begun += 1;
        this.#headers.set(`${slice}/${frame.call}`, header);
        onBegun(header, slice);
      }),
    );
  }

  /** Stops the next push that `matches` in this phase on a slice (the first by default), and gives it to the caller. */
  async hold(
    phase: PushPhase,
    { matches = () => true, slice = 0, withinMs = 90_000 }: HoldOptions = {},
  ): Promise<HeldPush> {
    const headerFor = (frame: PassingFrame) => this.#headers.get(`${slice}/${frame.call}`);
    const held = await this.#proxies[slice]!.hold((frame) => {
      const header = headerFor(frame);
      return header !== undefined && phaseOf(frame) === phase && matches(header);
    }, withinMs);
    return { ...held, header: headerFor(held.frame)! };
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}

export interface HoldOptions {
  readonly matches?: (header: PushHeader) => boolean;
  readonly slice?: number;
  readonly withinMs?: number;
}

function phaseOf(frame: PassingFrame): PushPhase | undefined {
  if (frame.from === 'server') return frame.type === frameTypes.headers ? 'answer' : undefined;
  if (frame.type !== frameTypes.data) return undefined;
  if (headerOf(frame) !== undefined) return 'begun';
  return frame.sent >= inBlockBytes && frame.payload.length > 1024 ? 'upload' : undefined;
}

/** The header, where the frame is the first DATA of a push. */
function headerOf(frame: PassingFrame): PushHeader | undefined {
  if (frame.from !== 'client' || frame.type !== frameTypes.data || frame.sent !== frame.payload.length)
    return undefined;
  if (frame.payload.length < prefixBytes) return undefined;
  const end = prefixBytes + frame.payload.readUInt32BE(1);
  if (end > frame.payload.length) return undefined;
  const message = decoded(frame.payload.subarray(prefixBytes, end));
  return message?.$case === 'header' && message.value.key !== undefined ? message.value : undefined;
}

/** Undefined where it is none: a question for parameters begins alike, and goes on with anything. */
function decoded(bytes: Uint8Array): PushGradientRequest['message'] {
  try {
    return PushGradientRequest.decode(bytes).message;
  } catch {
    return undefined; // whatever it is, it is no push
  }
}
