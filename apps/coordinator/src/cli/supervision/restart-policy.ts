// When a process that died is started again, and when its parent gives up.
// Refuses to know processes: pure, it only counts.

/** How a process ended. Exactly one of `code` and `signal` is set, or neither when it could not be started. */
export interface Death {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly livedMs: number;
}

export type Decision =
  { readonly kind: 'restart'; readonly delayMs: number } | { readonly kind: 'give-up'; readonly fastDeaths: number };

export interface RestartPolicyOptions {
  /** A shorter life is a fast death, milliseconds. @default 10,000 */
  readonly fastMs?: number;
  /** Delay after the second fast death in a row, then doubling, milliseconds. @default 250 */
  readonly firstDelayMs?: number;
  /** @default 15,000 */
  readonly longestDelayMs?: number;
  /** So many fast deaths in a row end it. @default Infinity */
  readonly giveUpAfter?: number;
  /** This exit code says that starting again is useless. @default none */
  readonly hopelessCode?: number;
}

/** Signals by which a process is ended from outside, as opposed to those by which it falls over its own feet. */
const outsideSignals: ReadonlySet<NodeJS.Signals> = new Set(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT']);

/**
 * The first death is answered at once. Fast deaths in a row are answered more and more slowly, except those that came from
 * outside: a process that is killed every second is back every second.
 */
export class RestartPolicy {
  private readonly options: Required<Omit<RestartPolicyOptions, 'hopelessCode'>>;
  private readonly hopelessCode: number | undefined;
  private fastDeaths = 0;

  constructor(options: RestartPolicyOptions = {}) {
    this.options = {
      fastMs: 10_000,
      firstDelayMs: 250,
      longestDelayMs: 15_000,
      giveUpAfter: Number.POSITIVE_INFINITY,
      ...options,
    };
    this.hopelessCode = options.hopelessCode;
  }

  afterDeath(death: Death): Decision {
    const { fastMs, firstDelayMs, longestDelayMs, giveUpAfter } = this.options;
    if (death.signal !== null && outsideSignals.has(death.signal)) {
      return { kind: 'restart', delayMs: 0 };
    }
    this.fastDeaths = death.livedMs < fastMs ? this.fastDeaths + 1 : 0;
    const hopeless = this.hopelessCode !== undefined && death.code === this.hopelessCode;
    if (hopeless || this.fastDeaths >= giveUpAfter) {
      return { kind: 'give-up', fastDeaths: this.fastDeaths };
    }
    const delayMs = this.fastDeaths < 2 ? 0 : Math.min(longestDelayMs, firstDelayMs * 2 ** (this.fastDeaths - 2));
    return { kind: 'restart', delayMs };
  }
}
