// Runs the few foreign programs that set-up needs (pip, npm, a C++ compiler) and finds them on the search path.
// Refuses to know what their output means.
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Variables that foreign programs run with: their search path, proxies, pip's and npm's own settings. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What set-up's children inherit unless the caller says otherwise; Lockstep's own settings are not read from it. */
export const inheritedEnvironment: Environment = process.env;

export interface CommandResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly environment?: Environment;
  readonly timeoutMs: number;
  /** Called every `pollMs` (250) while the program runs. */
  readonly onPoll?: () => void;
}

const pollMs = 250;
const keptOutput = 64 * 1024;

/**
 * Runs a program to its end; its output is kept (the last 64 kB of each stream). The program is killed at the time
 * limit, and when this process exits. Throws only where it cannot be started (`ENOENT`, `EACCES`).
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...(options.environment ?? inheritedEnvironment) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: options.timeoutMs,
    killSignal: 'SIGKILL',
  });
  const killChild = (): void => void child.kill('SIGKILL');
  process.once('exit', killChild);
  const poll = options.onPoll === undefined ? undefined : setInterval(options.onPoll, pollMs);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout = (stdout + text).slice(-keptOutput)));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-keptOutput)));
  try {
    return await new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
    });
  } finally {
    clearInterval(poll);
    process.removeListener('exit', killChild);
  }
}

/** Absolute path of the first of `names` that is an executable file on the search path. */
export async function findProgram(
  names: readonly string[],
  environment: Environment = inheritedEnvironment,
): Promise<string | undefined> {
  const folders = (environment['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  for (const name of names) {
    for (const folder of folders) {
      const candidate = join(folder, name);
      if (await isExecutable(candidate)) return candidate;
    }
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Not there or not ours to run: the search goes on.
    return false;
  }
}

/** The last line of a program's complaint that says something, for error sentences. */
export function lastLine(output: string): string {
  const lines = output.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '') ?? 'it said nothing';
}
