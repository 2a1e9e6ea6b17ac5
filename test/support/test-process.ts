// One process of a test system: started, killed, stopped and started again at will, with its lines as something to wait for.
// Refuses to know which program it is, and never starts anything again by itself.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ProcessGuard } from '../../apps/coordinator/src/cli/supervision/guard.js';

export interface TestProcessOptions {
  /** For people, such as `worker 2`. */
  readonly name: string;
  /** Arguments of Node: the script and what follows it. */
  readonly args: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Working directory. @default this process's */
  readonly folder?: string | undefined;
  readonly guard: ProcessGuard;
}

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Lines kept per process: a test that fails shows the last of them. */
const keptLines = 5_000;

export class TestProcess {
  readonly name: string;
  /** What it wrote on both streams, over all its starts, oldest first. */
  readonly lines: string[] = [];
  #child: ChildProcess | undefined;
  #ended: Promise<ProcessEnd> = Promise.resolve({ code: null, signal: null });
  readonly #watchers = new Set<() => void>();
  readonly #notices = new Set<string>();

  constructor(private readonly options: TestProcessOptions) {
    this.name = options.name;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Throws when it is not running. */
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.name} is not running`);
    return this.#child.pid;
  }

  /** Settles when the present process has ended and all its output is there. */
  get ended(): Promise<ProcessEnd> {
    return this.#ended;
  }

  start(): void {
    if (this.#child !== undefined) throw new Error(`${this.name} is running already`);
    const { args, environment, folder, guard } = this.options;
    // The IPC channel is what lets it end with us, however we end; its notices say when it is ready.
    const child = spawn(process.execPath, args, {
      ...{ env: environment, stdio: ['pipe', 'pipe', 'pipe', 'ipc'] },
      ...(folder === undefined ? {} : { cwd: folder }),
    });
    this.#child = child;
    this.#notices.clear();
    const { pid } = child;
    if (pid !== undefined) guard.add(pid);
    child.stdin?.on('error', () => undefined); // it is gone: `close` tells
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream! }).on('line', (line) => {
        this.lines.push(line);
        if (this.lines.length > keptLines) this.lines.shift();
        this.#wake();
      });
    }
    child.on('message', (message) => {
      const { notice } = message as { notice?: string };
      if (notice !== undefined) this.#notices.add(notice);
      this.#wake();
    });
    this.#ended = once(child, 'close').then(([code, signal]: unknown[]) => {
      this.#child = undefined;
      if (pid !== undefined) guard.remove(pid);
      this.#wake();
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
  }

  /** SIGKILL, SIGSTOP, SIGCONT, SIGTERM …; returns at once. */
  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Kills it with -9, if it is running, and waits until it is gone. */
  async killNow(): Promise<void> {
    if (this.running) this.kill('SIGKILL');
    await this.ended;
  }

  /** SIGTERM, and its end. */
  async terminate(): Promise<ProcessEnd> {
    if (this.running) this.kill('SIGTERM');
    return await this.ended;
  }

  /** The first line from number `from` on that matches; rejects when the process ends without one or time is over. */
  async line(pattern: RegExp, { from = 0, withinMs = 180_000 } = {}): Promise<string> {
    let found: string | undefined;
    await this.#until(`a line like ${String(pattern)}`, withinMs, () => {
      found = this.lines.slice(from).find((line) => pattern.test(line));
      return found !== undefined;
    });
    return found!;
  }

  /** Resolves when the present process has told its parent so. */
  async notice(name: 'ready' | 'drained', withinMs = 180_000): Promise<void> {
    await this.#until(`the notice "${name}"`, withinMs, () => this.#notices.has(name));
  }

  async #until(what: string, withinMs: number, done: () => boolean): Promise<void> {
    const deadline = AbortSignal.timeout(withinMs);
    while (!done()) {
      if (!this.running) throw new Error(`${this.name} ended without ${what}\n${this.tail()}`);
      if (deadline.aborted) throw new Error(`${this.name}: no ${what} within ${withinMs} ms\n${this.tail()}`);
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#watchers.delete(wake);
          deadline.removeEventListener('abort', wake);
          resolve();
        };
        this.#watchers.add(wake);
        deadline.addEventListener('abort', wake);
      });
    }
  }

  /** Its last words. */
  tail(count = 40): string {
    return [`--- ${this.name}:`, ...this.lines.slice(-count)].join('\n');
  }

  #wake(): void {
    for (const wake of this.#watchers) wake();
  }
}
