// Ten minutes in which something is killed, frozen, cut, corrupted or forgotten every few seconds, coordinator and Valkey
// included, while ResNet-20 trains on CIFAR-10; then the same steps without faults. Refuses to repair anything by hand that
// the system does not repair itself: it starts dead processes again, as `lockstep up` or Kubernetes would.
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomStream } from '#model/random.js';
import type { JobView } from '../../apps/coordinator/src/jobs/ports.js';
import { Ground, prepareBehindProxies, stopProxies } from '../support/faults/ground.js';
import { PushWatch } from '../support/push-frames.js';
import { TestSystem } from '../support/test-system.js';
import { type ChaosFault, chaosFaults } from './chaos-faults.js';
import { formatted, printTable, progress, quantile } from './table.js';

const workers = 3;
const training = { batchSize: 128, shardSize: 32, schedule: { kind: 'constant', learningRate: 0.1 } };
/** More than ten minutes can do; the rate is constant, so that the number of steps decides nothing else. */
const endless = 1_000_000;
const specOf = (steps: number): object => ({
  name: 'chaos',
  model: { architecture: 'resnet20' },
  dataset: { kind: 'cifar10', augmentation: 'pad-crop' },
  training: { ...training, steps },
  evaluation: { everyEpochs: 1 },
  checkpoint: { everySteps: 25, keep: 3 },
});
const furtherSteps = 2;
const recoverWithinMs = 120_000;
const endWithinMs = 30 * 60_000;
const longestPauseMs = 3_000;

interface Survived {
  readonly fault: string;
  readonly seconds: number;
}

interface Chaos {
  readonly job: JobView;
  readonly survived: readonly Survived[];
  readonly seconds: number;
  readonly computedSamples: number;
  readonly refused: ReadonlyMap<string, number>;
  readonly clean: boolean;
}

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean' },
    },
  });
  const chaos = await underFaults(Number(values.minutes) * 60, Number(values.seed));
  progress(`Step ${chaos.job.step} after ${chaos.survived.length} faults; now the same steps without any.`);
  const quiet = await withoutFaults(chaos.job.step);
  const same = chaos.job.stateSha256 !== null && chaos.job.stateSha256 === quiet.job.stateSha256;
  print(chaos, quiet, same);
  return same && chaos.clean ? 0 : 1;
}

/** Trains until the time is over, then pauses, which leaves a checkpoint of the last step. */
async function underFaults(seconds: number, seed: number): Promise<Chaos> {
  const { system, proxies } = await prepareBehindProxies({ workers, environment: { LOCKSTEP_LOG_LEVEL: 'info' } });
  let pushes = 0;
  const watch = new PushWatch(proxies.slices, (_, slice) => (pushes += slice === 0 ? 1 : 0));
  try {
    await system.start();
    const { api } = system;
    const id = await api.submit(specOf(endless));
    await api.untilJob(id, ({ step }) => step >= 5, recoverWithinMs);
    const ground = new Ground(system, proxies, id);
    const started = performance.now();
    const survived: Survived[] = [];
    const random = randomStream(seed, 'chaos');
    let queue: ChaosFault[] = [];
    while (performance.now() - started < 1000 * seconds) {
      if (queue.length === 0) queue = shuffled(chaosFaults, () => random.uniform());
      const { fault, harm } = queue.pop()!;
      const { step } = await api.job(id);
      const at = performance.now();
      await harm(ground, () => random.uniform());
      await ground.untilStep(step + furtherSteps, recoverWithinMs);
      survived.push({ fault, seconds: (performance.now() - at) / 1000 });
      progress(
        `${((at - started) / 1000).toFixed(0).padStart(4)} s, step ${step}: ${fault}: ${survived.at(-1)!.seconds.toFixed(1)} s`,
      );
      await sleep(500 + random.uniform() * (longestPauseMs - 500));
    }
    const elapsed = (performance.now() - started) / 1000;
    await api.act(id, 'pause');
    const job = await api.untilJob(id, (view) => view.state === 'paused' && view.checkpoint?.step === view.step);
    const { clean } = await api.audit(id);
    const refused = new Map<string, number>();
    for (const { reason } of (await ground.steps()).flatMap((record) => record.refused)) {
      refused.set(reason, (refused.get(reason) ?? 0) + 1);
    }
    return { job, survived, seconds: elapsed, computedSamples: pushes * training.shardSize, refused, clean };
  } catch (error) {
    progress(system.tail());
    throw error;
  } finally {
    watch.stop();
    await system.stop();
    await stopProxies(proxies);
  }
}

async function withoutFaults(steps: number): Promise<{ job: JobView; seconds: number }> {
  const system = await TestSystem.prepare({ workers, environment: { LOCKSTEP_LOG_LEVEL: 'info' } });
  try {
    await system.start();
    const id = await system.api.submit(specOf(steps));
    await system.api.untilJob(id, ({ step }) => step >= 5, recoverWithinMs);
    const started = performance.now();
    const job = await system.api.untilState(id, 'completed', endWithinMs);
    return { job, seconds: (performance.now() - started) / 1000 };
  } finally {
    await system.stop();
  }
}

function print(chaos: Chaos, quiet: { job: JobView; seconds: number }, same: boolean): void {
  const { job, survived } = chaos;
  const names = chaosFaults.map(({ fault }) => fault).filter((name) => survived.some(({ fault }) => fault === name));
  const row = (name: string, times: readonly number[]): string[] => [
    name,
    String(times.length),
    formatted(quantile(times, 0.5), 1),
    formatted(quantile(times, 0.95), 1),
    formatted(Math.max(...times), 1),
  ];
  const all = survived.map(({ seconds }) => seconds);
  const committed = job.step * training.batchSize;
  const rate = (seconds: number) => formatted(committed / seconds, 0);
  const refused = [...chaos.refused].map(([reason, times]) => `${times} ${reason}`).join(', ');
  printTable({
    title: `Chaos: ${survived.length} faults in ${formatted(chaos.seconds / 60, 1)} minutes; ResNet-20 on CIFAR-10, ${workers} workers`,
    columns: ['fault', 'times', 'p50 s', 'p95 s', 'longest s'],
    rows: [
      ...names.map((name) =>
        row(
          name,
          survived.filter(({ fault }) => fault === name).map(({ seconds }) => seconds),
        ),
      ),
      row('all', all),
    ],
    notes: [
      `Seconds are from the fault's beginning until ${furtherSteps} further steps were committed (about ${formatted((furtherSteps * quiet.seconds) / job.step, 1)} s without faults).`,
      `Bits after step ${job.step}: ${same ? 'the same as' : 'OTHERS than'} without faults (stateSha256 ${job.stateSha256 ?? 'none'}${same ? '' : ` and ${quiet.job.stateSha256 ?? 'none'}`}). Audit: ${chaos.clean ? 'clean' : 'NOT CLEAN'}.`,
      `Goodput: ${formatted((100 * committed) / chaos.computedSamples, 0)} % (${formatted(committed, 0)} samples committed of ${formatted(chaos.computedSamples, 0)} whose computation began); ${rate(chaos.seconds)} images/s committed under faults, ${rate(quiet.seconds)} without.`,
      `Refused contributions in the ledger: ${refused === '' ? 'none' : refused}.`,
    ],
  });
}

function shuffled<T>(items: readonly T[], uniform: () => number): T[] {
  return items
    .map((item) => ({ item, at: uniform() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
