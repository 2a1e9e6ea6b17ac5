// The line under every benchmark: on which machine and commit its figures were measured, and what else the machine did.
// Refuses to know the benchmarks.
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const observedMs = 2_000;

/** Such as `2 x AMD EPYC 7763, Node 20.20.2, linux x64, commit 1a2b3c4 (with changes), 2026-11-24`. */
export function machineLine(): string {
  const cores = cpus();
  const platform = `${process.platform} ${process.arch}`;
  const date = new Date().toISOString().slice(0, 10);
  return `${cores.length} x ${cores[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}, ${platform}, ${commit()}, ${date}`;
}

/** Share of all processors' time, 0 to 1, that others use right now; watches for two seconds. */
export async function loadOfOthers(): Promise<number> {
  const before = processorTime();
  await delay(observedMs);
  const after = processorTime();
  return (after.busy - before.busy) / Math.max(1, after.all - before.all);
}

function processorTime(): { busy: number; all: number } {
  const times = cpus().map((core) => core.times);
  const all = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
  return { all, busy: all - times.reduce((sum, { idle }) => sum + idle, 0) };
}

function commit(): string {
  const hash = git('rev-parse', '--short', 'HEAD');
  if (hash === undefined) return 'no commit';
  return `commit ${hash}${git('status', '--porcelain') === '' ? '' : ' (with changes)'}`;
}

function git(...args: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', args, { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}
