// Sees to it that no process outlives the one that started it, even when that one is killed with -9.
// Refuses to know what the processes are; it has only their ids.
import { type ChildProcess, spawn } from 'node:child_process';

/**
 * A tiny shell that reads the ids of the living from a pipe, whole list by whole list, and kills those of the last list when
 * the pipe ends: the kernel closes it however this process ends. Signals to the process group must not end the guard first.
 */
const SCRIPT = `trap '' INT TERM HUP QUIT
pids=
while read -r line; do pids=$line; done
for pid in $pids; do kill -9 "$pid"; done 2>/dev/null`;

export class ProcessGuard {
  private readonly pids = new Set<number>();
  private shell: ChildProcess | undefined;
  private stopping = false;

  start(): void {
    const shell = spawn('/bin/sh', ['-c', SCRIPT, 'lockstep-guard'], { stdio: ['pipe', 'ignore', 'ignore'] });
    this.shell = shell;
    // Somebody killed the guard: `exit` follows and brings a new one.
    shell.stdin.on('error', () => {});
    // No shell at all: the processes still end by themselves where they watch their parent.
    shell.on('error', () => {});
    shell.on('exit', () => {
      if (!this.stopping) {
        this.start();
      }
    });
    this.tell();
  }

  add(pid: number): void {
    this.pids.add(pid);
    this.tell();
  }

  remove(pid: number): void {
    this.pids.delete(pid);
    this.tell();
  }

  /** Whatever is still listed is killed; resolves when the guard itself has ended. */
  async stop(): Promise<void> {
    this.stopping = true;
    const shell = this.shell;
    if (shell === undefined || shell.exitCode !== null || shell.signalCode !== null || shell.pid === undefined) {
      return;
    }
    const ended = new Promise((resolve) => shell.once('exit', resolve));
    shell.stdin?.end();
    await ended;
  }

  private tell(): void {
    this.shell?.stdin?.write(`${[...this.pids].join(' ')}\n`);
  }
}
