// One program in the foreground, as if it were this process: its output, its signals, its exit code.
// Refuses to know the program.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

type Environment = Readonly<Record<string, string | undefined>>;

/** Signals of a shell or a container's engine. All become SIGTERM, the one that our programs take as 'stop in order'. */
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `node entry args` and resolves with its exit code; 128 + n when signal n killed it. It does not outlive this process. */
export async function runInForeground(entry: string, environment: Environment): Promise<number> {
  const child = spawn(process.execPath, [entry], { env: environment, stdio: ['pipe', 'inherit', 'inherit', 'ipc'] });
  child.stdin?.on('error', () => {
    // The child is gone; `exit` tells.
  });
  const stop = (): void => void child.kill('SIGTERM');
  for (const signal of stopSignals) {
    process.on(signal, stop);
  }
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
    });
  } finally {
    for (const signal of stopSignals) {
      process.removeListener(signal, stop);
    }
  }
}
