// `demo`: from nothing to a test accuracy, by the same REST interface that everybody uses.
// Refuses to know how the system is brought up and what the preset trains.
import { relative, resolve } from 'node:path';
import type { JobView } from '../../jobs/ports.js';
import { readCpu } from '../../setup/cpu.js';
import { Api } from '../api.js';
import { bringUp, type RunningSystem } from '../bring-up.js';
import { clientSettings } from '../client-settings.js';
import { CommandFailed, exitCodes, sentenceOf } from '../exit.js';
import { formatDuration, formatRate, formatShare } from '../format.js';
import { aborted, interruption } from '../interruption.js';
import { prepareDataset, prepareMachine } from '../prepare.js';
import { endText, hasEnded } from '../progress.js';
import { StatusLine } from '../status-line.js';
import { watchJob } from '../watch.js';

export interface DemoOptions {
  readonly keep?: boolean;
  readonly verbose?: boolean;
}

const PRESET = 'resnet20-cifar10-demo';
const WORKERS = 2;
const DATA_DIR = 'data/demo';

/** Everything goes to standard output: the story is the data. Set-up's progress is on standard error. */
export async function demo(options: DemoOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  const startedAt = performance.now();
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const line = new StatusLine(process.stdout);
  const say = (text: string): void => line.note(text);
  const running = await bringUp(
    {
      environment,
      dataDir: (environment['LOCKSTEP_DATA_DIR'] ?? '').trim() === '' ? DATA_DIR : undefined,
      anyHttpPort: true,
      workers: WORKERS,
      verbose: options.verbose === true,
      say,
      prepare: async (config) => {
        const { queue } = await prepareMachine({ config, environment, signal: stop.signal });
        await prepareDataset({ config, environment, signal: stop.signal });
        return queue;
      },
    },
    stop.signal,
  );
  if (running === undefined) {
    return exitCodes.interrupted;
  }
  const setupSeconds = (performance.now() - startedAt) / 1000;
  let ended: JobView;
  try {
    say(`Set up in ${formatDuration(setupSeconds)}. Dashboard: ${running.baseUrl}`);
    const api = new Api(clientSettings({ LOCKSTEP_API_TOKENS: environment['LOCKSTEP_API_TOKENS'] }, running.baseUrl));
    const job = await Promise.race([train(api, line, stop.signal), running.failure]);
    if (job === undefined) {
      say('Stopping …');
      return exitCodes.interrupted;
    }
    tellEnd(job, running, setupSeconds, say);
    if (options.keep === true) {
      say(`Still up at ${running.baseUrl}; Ctrl-C stops everything.`);
      await Promise.race([aborted(stop.signal), running.failure]);
    }
    ended = job;
  } catch (error) {
    line.end();
    throw error instanceof CommandFailed ? error : new CommandFailed(sentenceOf(error), { cause: error });
  } finally {
    await running.stop();
  }
  tellNext(ended, running.config.dataDir, say);
  return ended.state === 'completed' ? exitCodes.good : exitCodes.failed;
}

/** The job as it ended; undefined at Ctrl-C. */
async function train(api: Api, line: StatusLine, signal: AbortSignal): Promise<JobView | undefined> {
  await endLeftovers(api, (text) => line.note(text));
  const { id, spec } = await api.submit(await demoSpec((text) => line.note(text)));
  line.note(`Job ${id}: ${PRESET}, precision ${spec.training.precision}, ${WORKERS} workers`);
  return watchJob(api, id, line, signal);
}

/** An earlier demo that was killed would go on now, beside ours and at the cost of its speed. */
async function endLeftovers(api: Api, say: (text: string) => void): Promise<void> {
  const { jobs } = await api.jobs({ limit: 1_000 });
  for (const job of jobs) {
    if (job.spec.preset === PRESET && !hasEnded(job)) {
      say(`Job ${job.id} of an earlier demo had not ended; it is cancelled.`);
      await api.act(job.id, 'cancel');
    }
  }
}

async function demoSpec(say: (text: string) => void): Promise<object> {
  const cpu = await readCpu();
  if (cpu.fastBfloat16) {
    return { preset: PRESET };
  }
  say(`This CPU (${cpu.model}) has no bfloat16 arithmetic (AVX512-BF16 or AMX), so the demo trains in float32.`);
  return { preset: PRESET, training: { precision: 'float32' } };
}

function tellEnd(job: JobView, running: RunningSystem, setupSeconds: number, say: (text: string) => void): void {
  if (job.state !== 'completed') {
    say(endText(job));
    return;
  }
  const seconds =
    job.startedAt === null || job.endedAt === null
      ? undefined
      : (Date.parse(job.endedAt) - Date.parse(job.startedAt)) / 1000;
  const images = job.step * job.spec.training.batchSize;
  say(`test accuracy ${formatShare(job.test?.top1)}`);
  if (job.checkpoint !== null) {
    say(`checkpoint ${resolve(running.config.dataDir, job.checkpoint.path)}`);
  }
  const rate = seconds === undefined ? '' : ` (${formatRate(images / seconds)} images/s, evaluations included)`;
  say(`set-up ${formatDuration(setupSeconds)}, training ${formatDuration(seconds)}${rate}`);
}

/** What to do with it, once nothing runs any more. */
function tellNext({ state, checkpoint }: JobView, dataDir: string, say: (text: string) => void): void {
  say(`Everything is stopped. See it again: npx lockstep up --data-dir ${fromHere(dataDir)}`);
  if (state === 'completed' && checkpoint !== null) {
    say(`Next: npx lockstep evaluate --checkpoint ${fromHere(resolve(dataDir, checkpoint.path))}`);
  }
}

/** As a person would type it: relative where it lies below the present folder. */
function fromHere(path: string): string {
  const short = relative(process.cwd(), path);
  const shown = short === '' || short.startsWith('..') ? path : short;
  return /^[\w./@+-]+$/.test(shown) ? shown : `'${shown.replaceAll("'", String.raw`'\''`)}'`;
}
