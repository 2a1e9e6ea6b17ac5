// The clock that spans are measured by, and how far another host's clock is from this one.
// Refuses to know what is measured: no spans, no streams.

const [seconds, nanoseconds] = process.hrtime();
/** What this thread's `performance.now()` is behind the host's clock, milliseconds. */
const behind = seconds * 1e3 + nanoseconds / 1e6 - performance.now();

/** Milliseconds of the host's monotonic clock: the same for all threads and processes of a host, never set back. */
export function hostClockMs(): number {
  return behind + performance.now();
}

/** Another clock as seen from here. */
export interface ClockOffset {
  /** Add it to this host's time to get the other's, milliseconds. */
  readonly offsetMs: number;
  /** The true offset lies within so many milliseconds of it, whatever the two ways of the message took. */
  readonly errorMs: number;
}

/** Exchanges looked at: crystals drift by milliseconds an hour, so that old ones tell little. */
const keptExchanges = 64;

/**
 * Estimates the offset as NTP does: the other side looked at its clock between our sending and our hearing, so it lies
 * within half of the round trip of the middle; the quickest of the last exchanges tells best.
 */
export class OffsetEstimate {
  readonly #exchanges: ClockOffset[] = [];

  /** An exchange: sent and heard by this host's clock, answered by the other's; milliseconds. */
  note(sentMs: number, answeredMs: number, heardMs: number): void {
    const errorMs = (heardMs - sentMs) / 2;
    // Of a clock that is not this one, or an answer to nothing that was said.
    if (!(errorMs >= 0) || !Number.isFinite(answeredMs)) return;
    this.#exchanges.push({ offsetMs: answeredMs - (sentMs + heardMs) / 2, errorMs });
    if (this.#exchanges.length > keptExchanges) this.#exchanges.shift();
  }

  /** Undefined before the first exchange. */
  get best(): ClockOffset | undefined {
    let best: ClockOffset | undefined;
    for (const exchange of this.#exchanges) if (best === undefined || exchange.errorMs < best.errorMs) best = exchange;
    return best;
  }
}
