// A whole Lockstep on this machine for as long as a benchmark needs it: `lockstep up` in a data folder of its own.
// Refuses to know what is trained on it; asks it by REST like everybody.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** From dist/test/bench. */
export const cli = fileURLToPath(new URL('../../apps/coordinator/src/cli/main.js', import.meta.url));

const pollMs = 500;
const endWithinMs = 15 * 60_000;

export interface JobAnswer {
  readonly id: string;
  readonly state: string;
  readonly step: number;
  readonly totalSteps: number;
  readonly reason: string | null;
  readonly error: string | null;
}

export interface TimelineSpan {
  readonly ph: string;
  readonly name: string;
  /** Row, such as `slice 0 reduce`. */
  readonly cat: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args: { readonly step: number };
}

export interface LedgerEntry {
  readonly step: number;
  /** By whom each task was computed, and how long that took. */
  readonly tasks: readonly { readonly worker: string; readonly seconds: number }[];
}

export class LocalSystem {
  readonly #child: ChildProcess;
  readonly #dataDir: string;
  readonly #url: string;

  private constructor(child: ChildProcess, dataDir: string, url: string) {
    this.#child = child;
    this.#dataDir = dataDir;
    this.#url = url;
  }

  /** Resolves when it is ready; throws when it ends before. */
  static async start(workers: number): Promise<LocalSystem> {
    const dataDir = temporaryFolder();
    const args = [cli, 'up', '--workers', String(workers), '--http-port', '0', '--data-dir', dataDir];
    // The user's own system is none of this one's business.
    const env = { ...process.env, REDIS_URL: '', LOCKSTEP_API_TOKENS: '', LOCKSTEP_WORKER_TOKEN: '' };
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    process.once('exit', () => child.kill('SIGKILL'));
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (said = `${said}${chunk}`.slice(-10_000)));
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /^ready (http:\S+)$/.exec(line)?.[1];
      if (url !== undefined) return new LocalSystem(child, dataDir, url);
    }
    throw new Error(`\`lockstep up\` ended before it was ready:\n${said}`);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null) {
      this.#child.kill('SIGTERM');
      await once(this.#child, 'exit');
    }
    rmSync(this.#dataDir, { recursive: true, force: true });
  }

  /** Trains a job to its end. Throws where it does not complete. */
  async train(spec: object): Promise<JobAnswer> {
    const { id } = await this.#ask<JobAnswer>('/jobs', spec);
    const until = performance.now() + endWithinMs;
    for (;;) {
      await delay(pollMs);
      const job = await this.#ask<JobAnswer>(`/jobs/${id}`);
      if (job.state === 'completed') return job;
      if (['failed', 'cancelled', 'paused'].includes(job.state) || performance.now() > until) {
        throw new Error(
          `Job ${id} is ${job.state} at step ${job.step}: ${job.error ?? job.reason ?? 'it took too long'}`,
        );
      }
    }
  }

  /** The values of each series in order of steps. */
  async metrics(id: string, names: readonly string[]): Promise<Record<string, number[]>> {
    const { series } = await this.#ask<{ series: Record<string, [number, number][]> }>(
      `/jobs/${id}/metrics?maxPoints=10000&series=${names.join(',')}`,
    );
    return Object.fromEntries(names.map((name) => [name, (series[name] ?? []).map(([, value]) => value)]));
  }

  /** The spans of some steps (from 0), over all processes. */
  async timeline(id: string, from: number, to: number): Promise<TimelineSpan[]> {
    const { traceEvents } = await this.#ask<{ traceEvents: TimelineSpan[] }>(
      `/jobs/${id}/timeline?from=${from}&to=${to}`,
    );
    return traceEvents.filter(({ ph }) => ph === 'X');
  }

  /** The ledger's record of each committed step, in order. */
  async ledger(id: string): Promise<LedgerEntry[]> {
    const response = await fetch(`${this.#url}/api/v1/jobs/${id}/ledger`);
    if (!response.ok) throw new Error(`The ledger of job ${id} is answered with ${response.status}.`);
    const lines = (await response.text()).split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as LedgerEntry);
  }

  async #ask<Answer>(path: string, body?: object): Promise<Answer> {
    const post = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await fetch(`${this.#url}/api/v1${path}`, body === undefined ? {} : post);
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path}: ${JSON.stringify(answer)}`);
    return answer as Answer;
  }
}

export function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'lockstep-bench-'));
}
