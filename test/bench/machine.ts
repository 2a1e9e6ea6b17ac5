// The line under every benchmark: on which machine and commit its figures were measured.
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';

/** Such as `2 x AMD EPYC 7763, Node 20.20.2, linux x64, commit 1a2b3c4 (with changes), 2026-11-24`. */
export function machineLine(): string {
  const cores = cpus();
  const platform = `${process.platform} ${process.arch}`;
  const date = new Date().toISOString().slice(0, 10);
  return `${cores.length} x ${cores[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}, ${platform}, ${commit()}, ${date}`;
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
