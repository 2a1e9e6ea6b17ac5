// One coordinator, its workers and the Valkey between them as processes of this machine: started, kept alive, stopped in order.
// Refuses to know settings, set-up and locks: it is given commands to run.
import { join } from 'node:path';
import { ChildLog } from './child-log.js';
import { ProcessGuard } from './guard.js';
import { untilReady } from './readiness.js';
import { type Death, RestartPolicy } from './restart-policy.js';
import { deathText, type ProcessSpec, SupervisedProcess } from './supervised-process.js';

/** Something that must run before the others and until after them, and keeps itself alive. */
export interface Companion {
  /** Rejects when it cannot be kept alive. */
  readonly failure: Promise<never>;
  /** Resolves when it can be used. */
  start(): Promise<void>;
  /** From now on its deaths are expected and not worth a word; it is still kept alive. */
  hush(): void;
  stop(graceMs: number): Promise<void>;
}

export interface LocalSystemOptions {
  /** Undefined: Redis is somebody else's. */
  readonly valkey: Companion | undefined;
  readonly coordinator: ProcessSpec;
  readonly workers: readonly ProcessSpec[];
  /** Where the coordinator will answer, such as `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  readonly logFolder: string;
  /** How long workers and coordinator may take to stop, each, milliseconds. */
  readonly graceMs: number;
  readonly say: (line: string) => void;
  /** Shows every line that the children write. */
  readonly verbose: boolean;
}

/** The coordinator could not be kept alive; `message` has its last words. */
export class SystemFailed extends Error {
  override readonly name = 'SystemFailed';
}

/** Fast deaths in a row after which a coordinator is not started again. */
const GIVE_UP_AFTER = 5;
/** Exit code of a process whose settings are wrong: they will not be better next time. */
const WRONG_SETTINGS = 2;
/** On top of the children's own grace period, before they are killed. */
const GRACE_MARGIN_MS = 2_000;
const VALKEY_GRACE_MS = 3_000;
/** Errors shown per process in a row; more are in its log. */
const SHOWN_ERRORS = 5;
const SHOWN_ERRORS_WINDOW_MS = 10_000;

export class LocalSystem {
  /** Rejects with `SystemFailed` when the system cannot go on; stays pending otherwise. */
  readonly failure: Promise<never>;
  private fail!: (error: Error) => void;
  private readonly guard = new ProcessGuard();
  private readonly logs: ChildLog[] = [];
  private readonly ended = new AbortController();
  private readonly coordinator: SupervisedProcess;
  private readonly workers: readonly SupervisedProcess[];

  constructor(private readonly options: LocalSystemOptions) {
    this.failure = new Promise((_, reject) => {
      this.fail = (error) => {
        this.ended.abort();
        reject(error);
      };
    });
    // Whoever does not wait for it hears of it by `start`.
    this.failure.catch(() => {});
    options.valkey?.failure.catch((error: Error) => this.fail(new SystemFailed(error.message, { cause: error })));
    const essential = { giveUpAfter: GIVE_UP_AFTER, hopelessCode: WRONG_SETTINGS };
    this.coordinator = this.process(options.coordinator, new RestartPolicy(essential), true);
    this.workers = options.workers.map((worker) =>
      this.process(worker, new RestartPolicy({ hopelessCode: WRONG_SETTINGS }), false),
    );
  }

  /** Resolves when the coordinator is ready, or with false when `stop` came first; throws `SystemFailed`. */
  async start(): Promise<boolean> {
    this.guard.start();
    await this.options.valkey?.start();
    if (this.ended.signal.aborted) {
      return false;
    }
    this.coordinator.start();
    for (const worker of this.workers) {
      worker.start();
    }
    return Promise.race([untilReady(this.options.baseUrl, this.ended.signal), this.failure]);
  }

  /** Workers first (they may finish their tasks), then the coordinator, then Valkey; all within the grace periods. */
  async stop(): Promise<void> {
    this.ended.abort();
    this.options.valkey?.hush();
    // Ctrl-C reaches one that has only just been started before it knows to leave that to us.
    this.coordinator.retire();
    const graceMs = this.options.graceMs + GRACE_MARGIN_MS;
    await Promise.all(this.workers.map((worker) => worker.stop(graceMs)));
    await this.coordinator.stop(graceMs);
    await this.options.valkey?.stop(VALKEY_GRACE_MS);
    await this.guard.stop();
    for (const log of this.logs) {
      log.close();
    }
  }

  private process(spec: ProcessSpec, policy: RestartPolicy, essential: boolean): SupervisedProcess {
    const { say, verbose } = this.options;
    const file = join(this.options.logFolder, `${spec.name.replaceAll(' ', '-').toLowerCase()}.log`);
    const showError = limited(say, file);
    const log = new ChildLog(file, {
      ...(verbose
        ? { onLine: (line: string) => say(`${spec.name}: ${line}`) }
        : { onError: (message: string) => showError(`${spec.name}: ${message}`) }),
      onUnwritable: (error) => say(`The log ${file} cannot be written any more: ${error.message}`),
    });
    this.logs.push(log);
    const said = (lastError: string | undefined): string => (lastError === undefined ? '' : `: ${lastError}`);
    return new SupervisedProcess(spec, policy, this.guard, log, {
      onStart: (pid, restarts) => {
        if (restarts > 0) {
          say(`${spec.name} was started again (pid ${pid}).`);
        }
      },
      onDeath: (death: Death, lastError, delayMs) => {
        const pause = delayMs === undefined || delayMs === 0 ? '' : `; next try in ${(delayMs / 1000).toFixed(1)} s`;
        // A kill needs no explanation, and its victim had none to give.
        const why = death.signal === null ? said(lastError) : '';
        say(`${spec.name} ${deathText(death)}${why}${pause}`);
      },
      onGiveUp: (lastError) => {
        if (essential) {
          this.fail(new SystemFailed(`${spec.name} cannot be kept alive${said(lastError)} (log: ${file})`));
        } else {
          say(`${spec.name} is not started again, as its settings cannot be used (log: ${file})`);
        }
      },
      onDrained: () => say(`${spec.name} was drained and has ended.`),
    });
  }
}

/** Lets a few lines through and then says once that there are more. */
function limited(say: (line: string) => void, file: string): (line: string) => void {
  let windowStart = Number.NEGATIVE_INFINITY;
  let shown = 0;
  return (line) => {
    const now = performance.now();
    if (now - windowStart > SHOWN_ERRORS_WINDOW_MS) {
      windowStart = now;
      shown = 0;
    }
    shown += 1;
    if (shown <= SHOWN_ERRORS) {
      say(line);
    } else if (shown === SHOWN_ERRORS + 1) {
      say(`More errors like these are in ${file}`);
    }
  };
}
