// The checks of `npm run test:device`: what each asks of the device, and what it must answer.
// Refuses to know how a process is started and how the report looks.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { paperModel } from '../support/paper-model.js';
import type { ProbeAnswer, ProbeOrder } from './probe.js';

export interface Finding {
  readonly check: string;
  readonly of: string;
  readonly ok: boolean;
  /** What was found, and what was asked for. */
  readonly detail: string;
}

/** Runs a probe on the device under test, or on the CPU as the reference. */
export type Probe = (
  where: 'device' | 'reference',
  order: ProbeOrder,
  environment?: Readonly<Record<string, string>>,
) => Promise<ProbeAnswer>;

export interface Plan {
  readonly probe: Probe;
  readonly folder: string;
  /** A GPU gets nets that keep it busy. */
  readonly large: boolean;
}

/** Of a worker on a GPU (apps/worker/src/compute-thread.ts). */
const readLag = 24;
const precisions = ['float32', 'bfloat16'] as const;

/**
 * Relative to the CPU's in float32, and largest difference allowed: |a - b| / |b| over the whole vector. bfloat16 by itself is 0.15
 * to 0.4 away here, on a CPU as well, as batch norm over few samples magnifies its roundings; a wrong gradient is about 1 away.
 */
const tolerances = [
  { name: 'float32, TF32 off', precision: 'float32', environment: { NVIDIA_TF32_OVERRIDE: '0' }, most: 1e-3 },
  { name: 'float32', precision: 'float32', environment: {}, most: 2e-2 },
  { name: 'bfloat16', precision: 'bfloat16', environment: {}, most: 5e-1 },
] as const;

export async function gradients({ probe, folder, large }: Plan): Promise<Finding[]> {
  const findings: Finding[] = [];
  const nets = [
    ['resnet20', 32, 16],
    ['resnet18', 64, 16],
    ...(large ? ([['resnet50', 224, 8]] as const) : []),
  ] as const;
  for (const [architecture, side, batch] of nets) {
    const order = { model: paperModel(architecture, side), batch, tasks: 1, readLag };
    const expected = join(folder, 'reference.bin');
    await probe('reference', { ...order, precision: 'float32', gradientFile: expected });
    for (const { name, precision, environment, most } of tolerances) {
      const found = join(folder, 'device.bin');
      await probe('device', { ...order, precision, gradientFile: found }, environment);
      const difference = relativeDifference(vector(found), vector(expected));
      const detail = `differs by ${difference.toExponential(1)} from the CPU's float32, at most ${most}`;
      findings.push({ check: 'gradient', of: `${architecture} at ${side}, ${name}`, ok: difference <= most, detail });
    }
  }
  const { slopeRatio = Number.NaN } = await probe(
    'device',
    { model: paperModel('resnet8', 32), batch: 16, tasks: 1, readLag, precision: 'float32', slope: true },
    { NVIDIA_TF32_OVERRIDE: '0' },
  );
  const detail = `the loss along the gradient rises at ${slopeRatio.toFixed(4)} of its length, within 0.03 of 1`;
  const ok = Math.abs(slopeRatio - 1) <= 0.03;
  return [...findings, { check: 'gradient', of: 'resnet8, finite differences', ok, detail }];
}

/** The same bits: task after task, in another process, and however late gradients are read. */
export async function determinism({ probe, large }: Plan): Promise<Finding[]> {
  const nets = [['resnet20', 32, 32], ...(large ? ([['resnet50', 224, 16]] as const) : [])] as const;
  const findings: Finding[] = [];
  for (const [architecture, side, batch] of nets) {
    for (const precision of precisions) {
      const order = { model: paperModel(architecture, side), precision, batch, tasks: 3 };
      const runs = [];
      for (const lag of [readLag, readLag, 0]) runs.push(await probe('device', { ...order, readLag: lag }));
      const different = new Set(runs.flatMap(({ hashes }) => hashes)).size;
      const detail = `${different} different results of 9 tasks in 3 processes, one of them reading at once`;
      findings.push({ check: 'determinism', of: `${architecture}, ${precision}`, ok: different === 1, detail });
    }
  }
  return findings;
}

/** Nothing grows over many tasks, once allocators have come to rest. */
export async function memory({ probe, large }: Plan): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const precision of precisions) {
    const [name, side, batch, tasks] = large
      ? (['resnet50', 224, 16, 120] as const)
      : (['resnet20', 32, 8, 40] as const);
    const order = { model: paperModel(name, side), precision, batch, tasks, readLag };
    const { residentBytes, liveTensors } = await probe('device', order);
    const settled = tasks / 2;
    const growth = Math.max(...residentBytes.slice(settled)) - Math.max(...residentBytes.slice(0, settled));
    const tensors = new Set(liveTensors).size;
    const megabytes = (growth / 1e6).toFixed(0);
    findings.push({
      check: 'memory',
      of: `${name}, ${precision}, ${tasks} tasks`,
      ok: growth < 0.05 * residentBytes[settled]! && tensors === 1,
      detail: `the second half takes ${megabytes} MB more than the first, below 5 %; ${liveTensors[0]} live tensors after each task`,
    });
  }
  return findings;
}

export interface Rate {
  readonly of: string;
  readonly imagesPerSecond: number;
  readonly medianMs: number;
}

export async function rates({ probe, large }: Plan): Promise<Rate[]> {
  const nets = large
    ? ([
        ['resnet20', 32, 128],
        ['resnet50', 224, 64],
        ['resnet152', 224, 32],
      ] as const)
    : ([['resnet20', 32, 64]] as const);
  const found: Rate[] = [];
  for (const [architecture, side, batch] of nets) {
    for (const precision of precisions) {
      const order = { model: paperModel(architecture, side), precision, batch, tasks: 12, readLag };
      const { seconds } = await probe('device', order);
      const median = seconds.slice(2).toSorted((a, b) => a - b)[(seconds.length - 2) >> 1]!;
      const of = `${architecture} at ${side}, batch ${batch}, ${precision}`;
      found.push({ of, imagesPerSecond: batch / median, medianMs: 1000 * median });
    }
  }
  return found;
}

function vector(file: string): Float32Array {
  const bytes = readFileSync(file);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

export function relativeDifference(found: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let norm = 0;
  for (const [index, value] of expected.entries()) {
    difference += (found[index]! - value) ** 2;
    norm += value ** 2;
  }
  // Also where something is not a number.
  return found.length === expected.length ? Math.sqrt(difference / norm) : Infinity;
}
