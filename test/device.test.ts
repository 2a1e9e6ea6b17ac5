// The harness of `npm run test:device`, tried on the CPU: every check runs and passes there, and the report says so.
// Refuses to stand in for a device: without one the command itself fails.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { relativeDifference } from './device/checks.js';
import { distribution } from './support/system.js';

const run = promisify(execFile);
const program = join(distribution, 'test/device/main.js');

test('runs every check on the CPU and reports', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'lockstep-device-test-'));
  await run(process.execPath, [program, '--cpu', '--out', folder]);
  const { findings, rates } = JSON.parse(await readFile(join(folder, 'report.json'), 'utf8')) as {
    findings: { check: string; ok: boolean }[];
    rates: { imagesPerSecond: number }[];
  };
  expect(new Set(findings.map(({ check }) => check))).toEqual(new Set(['gradient', 'determinism', 'memory']));
  expect(findings.filter(({ ok }) => !ok)).toEqual([]);
  expect(rates.every(({ imagesPerSecond }) => imagesPerSecond > 0)).toBe(true);
  expect(await readFile(join(folder, 'report.md'), 'utf8')).toContain(`All ${findings.length} checks passed.`);
  await rm(folder, { recursive: true });
}, 600_000);

test('without a device it says so and fails', async () => {
  const environment = { ...process.env, PATH: '' };
  await expect(run(process.execPath, [program], { env: environment })).rejects.toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/^There is no CUDA device here.*\n$/) as unknown,
  });
});

test('a gradient that is not the reference’s is told', () => {
  const expected = Float32Array.of(3, 4);
  expect(relativeDifference(Float32Array.of(3, 4), expected)).toBe(0);
  expect(relativeDifference(Float32Array.of(3, 4.5), expected)).toBeCloseTo(0.1, 6);
  expect(relativeDifference(Float32Array.of(3, NaN), expected) <= 0.1).toBe(false);
  expect(relativeDifference(Float32Array.of(3), expected)).toBe(Infinity);
});
