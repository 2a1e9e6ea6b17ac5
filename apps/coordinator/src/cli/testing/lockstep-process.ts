// One run of the compiled `lockstep`, with its output line by line as something to wait for.
// Refuses to know what the specs check.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

export interface LockstepEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class LockstepProcess {
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  readonly ended: Promise<LockstepEnd>;
  /** Like `ended`, with all output there. */
  readonly closed: Promise<LockstepEnd>;
  private readonly child: ChildProcess;
  private readonly wakers = new Set<() => void>();

  /** In a process group of its own, as a shell would start it. */
  constructor(cli: string, args: readonly string[], environment: Readonly<Record<string, string | undefined>>) {
    const inherited = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(LOCKSTEP_|REDIS_)/.test(name)),
    );
    this.child = spawn(process.execPath, [cli, ...args], {
      env: { ...inherited, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    this.collect('stdout');
    this.collect('stderr');
    const end = ([code, signal]: unknown[]): LockstepEnd => {
      this.wake();
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    };
    this.ended = once(this.child, 'exit').then(end);
    this.closed = once(this.child, 'close').then(end);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** The first line, past or to come, that matches; rejects when the process ends without one. */
  async line(pattern: RegExp): Promise<string> {
    let over = false;
    const closed = this.closed.then(() => {
      over = true;
    });
    for (;;) {
      const found = [...this.stdout, ...this.stderr].find((line) => pattern.test(line));
      if (found !== undefined) {
        return found;
      }
      if (over) {
        throw new Error(
          `It ended without ${String(pattern)}; it said:\n${[...this.stdout, ...this.stderr].join('\n')}`,
        );
      }
      await Promise.race([closed, new Promise<void>((resolve) => this.wakers.add(resolve))]);
    }
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** As a terminal's Ctrl-C does. */
  killGroup(signal: NodeJS.Signals): void {
    process.kill(-this.pid, signal);
  }

  private collect(stream: 'stdout' | 'stderr'): void {
    let rest = '';
    this.child[stream]!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      this[stream].push(...lines);
      this.wake();
    });
  }

  private wake(): void {
    const wakers = [...this.wakers];
    this.wakers.clear();
    for (const wake of wakers) {
      wake();
    }
  }
}
