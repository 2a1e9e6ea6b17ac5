// One process that is kept alive: started, started again when it dies, stopped within a deadline.
// Refuses to know what the process does and how its deaths are told to people.
import { type ChildProcess, spawn } from 'node:child_process';
import type { ChildLog } from './child-log.js';
import type { ProcessGuard } from './guard.js';
import type { Death, RestartPolicy } from './restart-policy.js';

export interface ProcessSpec {
  /** For people, such as `worker 2`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Whether it is ours and watches the channel (libs/proto/parent-link.ts). */
  readonly channel: boolean;
}

export interface ProcessEvents {
  onStart?(pid: number, restarts: number): void;
  /** It died unasked. `restartDelayMs` undefined: it is not started again. */
  onDeath?(death: Death, lastError: string | undefined, restartDelayMs: number | undefined): void;
  /** It died once too often, or said that starting it again is useless. */
  onGiveUp?(lastError: string | undefined): void;
  /** It ended on purpose and stays away. */
  onDrained?(): void;
}

/** A dead child's last words are waited for so long, should a grandchild keep its pipes open. */
const LAST_WORDS_MS = 300;

export class SupervisedProcess {
  private child: ChildProcess | undefined;
  private restartTimer: NodeJS.Timeout | undefined;
  private startedAt = 0;
  private starts = 0;
  private stopping = false;
  private drained = false;

  constructor(
    readonly spec: ProcessSpec,
    private readonly policy: RestartPolicy,
    private readonly guard: ProcessGuard,
    private readonly log: ChildLog,
    private readonly events: ProcessEvents = {},
  ) {}

  start(): void {
    const { command, args, environment, channel } = this.spec;
    // Not detached: it belongs to our process group.
    const child = spawn(command, args, {
      env: environment,
      // The input stays open and empty as long as we live: another sign of our end for whoever watches it.
      stdio: channel ? ['pipe', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'],
    });
    child.stdin?.on('error', () => {
      // The child is gone; `exit` tells.
    });
    this.child = child;
    this.startedAt = performance.now();
    if (child.pid !== undefined) {
      this.guard.add(child.pid);
    }
    child.stdout?.setEncoding('utf8').on('data', (text: string) => this.log.take('stdout', text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => this.log.take('stderr', text));
    child.on('message', (message) => {
      this.drained ||= (message as { notice?: unknown } | null)?.notice === 'drained';
    });
    this.awaitEnd(child);
    if (child.pid !== undefined) {
      this.events.onStart?.(child.pid, this.starts);
    }
    this.starts += 1;
  }

  /** From now on its end is expected: neither told nor followed by another start. */
  retire(): void {
    this.stopping = true;
    clearTimeout(this.restartTimer);
  }

  /** SIGTERM, then SIGKILL after `graceMs`. Resolves when it is gone; a restart that was due is called off. */
  async stop(graceMs: number): Promise<void> {
    this.retire();
    const child = this.child;
    if (child === undefined) {
      return;
    }
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await gone;
    clearTimeout(timer);
  }

  private awaitEnd(child: ChildProcess): void {
    let exited = false;
    const exit = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (exited) {
        return;
      }
      exited = true;
      this.child = undefined;
      if (child.pid !== undefined) {
        this.guard.remove(child.pid);
      }
      const death = { code, signal, livedMs: performance.now() - this.startedAt };
      const told = (): void => {
        clearTimeout(timer);
        child.removeListener('close', told);
        this.ended(death);
      };
      const timer = setTimeout(told, LAST_WORDS_MS);
      child.once('close', told);
    };
    child.once('exit', exit);
    child.on('error', (error) => {
      this.log.take('stderr', `${error.message}\n`);
      if (child.pid === undefined) {
        exit(null, null);
      }
    });
  }

  private ended(death: Death): void {
    this.log.flush();
    if (this.stopping) {
      return;
    }
    if (this.drained) {
      this.stopping = true;
      this.events.onDrained?.();
      return;
    }
    const { lastError } = this.log;
    const decision = this.policy.afterDeath(death);
    if (decision.kind === 'give-up') {
      this.stopping = true;
      this.events.onDeath?.(death, lastError, undefined);
      this.events.onGiveUp?.(lastError);
      return;
    }
    this.events.onDeath?.(death, lastError, decision.delayMs);
    this.log.lastError = undefined;
    if (decision.delayMs === 0) {
      this.start();
    } else {
      this.restartTimer = setTimeout(() => this.start(), decision.delayMs);
    }
  }
}

/** `ended with code 1`, `was killed by SIGKILL` */
export function deathText(death: Death): string {
  if (death.signal !== null) {
    return `was killed by ${death.signal}`;
  }
  return death.code === null ? 'could not be started' : `ended with code ${death.code}`;
}
