// Holds the estimate by which jobs are admitted against workers' computing measured in fresh processes.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { resolveJobSpec } from '#model/job-spec.js';
import { estimateWorkerMemory } from '#model/memory.js';
import { distribution } from './support/system.js';

const probe = join(distribution, 'test/support/memory-probe.js');

it.each([
  { architecture: 'resnet20', imageSize: 32, shardSize: 64, precision: 'float32', shardsPerTask: 1 },
  { architecture: 'resnet110', imageSize: 32, shardSize: 64, precision: 'bfloat16', shardsPerTask: 1 },
  { architecture: 'resnet18', imageSize: 224, shardSize: 8, precision: 'float32', shardsPerTask: 1 },
  { architecture: 'resnet50', imageSize: 64, shardSize: 16, precision: 'float32', shardsPerTask: 2 },
  { architecture: 'resnet50', imageSize: 224, shardSize: 4, precision: 'bfloat16', shardsPerTask: 4 },
])(
  '$architecture at $imageSize, $shardsPerTask x $shardSize, $precision: within 15 % of the peak',
  async ({ architecture, imageSize, shardSize, precision, shardsPerTask }) => {
    const spec = {
      model: { architecture },
      dataset: { kind: 'synthetic', size: 1024, classes: 10, imageSize },
      training: { steps: 1, batchSize: shardSize * shardsPerTask, shardSize, shardsPerTask, precision },
    };
    const { stdout } = await promisify(execFile)(process.execPath, [probe, JSON.stringify(spec)]);
    const { peakBytes } = JSON.parse(stdout) as { peakBytes: number };
    const estimate = estimateWorkerMemory(resolveJobSpec(spec));
    const [measured, estimated] = [peakBytes, estimate].map((bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`);
    expect(Math.abs(estimate / peakBytes - 1), `estimated ${estimated}, measured ${measured}`).toBeLessThan(0.15);
  },
);
