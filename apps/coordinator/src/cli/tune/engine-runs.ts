// Runs the engine in as many processes at once as there would be workers, and says what they reach together.
// Refuses to know what is tried next and what is made of it.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { JobSpec } from '#model/job-spec.js';
import { CommandFailed, Interrupted } from '../exit.js';
import type { FromProbe, ProbeOrder, ProbeResult } from './engine-probe.js';

export interface EngineRun {
  readonly model: JobSpec['model'];
  readonly training: ProbeOrder['training'];
  readonly workers: number;
  /** TensorFlow threads of each. */
  readonly threads: number;
  /** How long to measure once all are warm; a task that has begun is finished, milliseconds. */
  readonly budgetMs: number;
  /** Measured whatever the time. @default 1 */
  readonly leastTasks?: number;
  /** @default 1 */
  readonly warmUpTasks?: number;
}

export interface EngineResult {
  /** Median over all processes' tasks. */
  readonly taskSeconds: number;
  readonly forwardShare: number;
  /** Of all processes together, by the median. */
  readonly imagesPerSecond: number;
  /** Of the largest process. */
  readonly peakBytes: number;
}

/** As a worker sets them (its config.ts), so that the same kernels run. */
const tensorflowSettings = {
  TF_DETERMINISTIC_OPS: '1',
  TF_ENABLE_ONEDNN_OPTS: '1',
  TF_NUM_INTEROP_THREADS: '1',
  TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  TF_CPP_MIN_LOG_LEVEL: '2',
} as const;

const probe = fileURLToPath(new URL('engine-probe.js', import.meta.url));

/** @throws CommandFailed where a process ends before it has measured; Interrupted when the signal aborts */
export async function runEngine(
  run: EngineRun,
  environment: NodeJS.ProcessEnv,
  signal?: AbortSignal,
): Promise<EngineResult> {
  const { model, training, workers, threads, budgetMs, leastTasks = 1, warmUpTasks = 1 } = run;
  const order: ProbeOrder = { model, training, warmUpTasks, leastTasks, budgetMs };
  const env = { ...environment, ...tensorflowSettings, TF_NUM_INTRAOP_THREADS: String(threads) };
  const children = Array.from({ length: workers }, () => new ProbeProcess(env));
  const stop = (): void => children.forEach((child) => child.kill());
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for (const child of children) child.send(order);
    await Promise.all(children.map((child) => child.next('ready')));
    for (const child of children) child.send('go');
    const results = await Promise.all(children.map(async (child) => (await child.next('done')).result));
    return together(results, training.shardSize * training.shardsPerTask);
  } catch (error) {
    if (signal?.aborted === true) throw new Interrupted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
    await Promise.all(children.map(({ ended }) => ended));
  }
}

function together(results: readonly ProbeResult[], samplesPerTask: number): EngineResult {
  return {
    taskSeconds: median(results.flatMap(({ taskSeconds }) => taskSeconds)),
    forwardShare: median(results.map(({ forwardShare }) => forwardShare)),
    imagesPerSecond: results.reduce((sum, { taskSeconds }) => sum + samplesPerTask / median(taskSeconds), 0),
    peakBytes: Math.max(...results.map(({ peakBytes }) => peakBytes)),
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** One process and what it says. */
class ProbeProcess {
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  /** TensorFlow is talkative; its last words are shown where the process fails. */
  #said = '';

  constructor(env: NodeJS.ProcessEnv) {
    const child = fork(probe, [], { env, stdio: ['ignore', 'inherit', 'pipe', 'ipc'] });
    this.#child = child;
    child.stderr
      ?.setEncoding('utf8')
      .on('data', (chunk: string) => (this.#said = `${this.#said}${chunk}`.slice(-2000)));
    this.ended = new Promise((resolve) => child.once('close', () => resolve()));
  }

  send(message: ProbeOrder | 'go'): void {
    // One that is gone is noticed by whoever waits for its answer.
    this.#child.send(message, () => undefined);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  next<Type extends FromProbe['type']>(type: Type): Promise<Extract<FromProbe, { type: Type }>> {
    return new Promise((resolve, reject) => {
      const hear = (message: FromProbe): void => {
        if (message.type !== type) return;
        this.#child.off('message', hear);
        resolve(message as Extract<FromProbe, { type: Type }>);
      };
      this.#child.on('message', hear);
      void this.ended.then(() => {
        const { exitCode, signalCode } = this.#child;
        const how =
          signalCode === 'SIGKILL' ? 'was killed, as for want of memory' : `ended with ${exitCode ?? signalCode}`;
        reject(new CommandFailed(`A process that measured the engine ${how}.\n${this.#said}`.trimEnd()));
      });
    });
  }
}
