// The store against a plain model: appends, re-runs, restarts, torn tails; and its bounds on a very long job.
import { appendFileSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MetricsStore } from './metrics-store.js';
import type { Point } from './series-summary.js';

const manual = { flushEveryMs: 0 };
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lockstep-metrics-'));
});

afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('MetricsStore', () => {
  it('reads back what a plain map would hold, over appends, re-runs, flushes and restarts', () => {
    const names = ['train/loss', 'gradient/norm/layer1.0.conv1', '../odd %name', '__proto__'];
    const value = fc.oneof(
      fc.double({ noDefaultInfinity: true, noNaN: true }),
      fc.constantFrom(NaN, Infinity, -Infinity),
    );
    const anyOperation = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant('append' as const),
          gap: fc.integer({ min: 1, max: 3 }),
          values: fc.uniqueArray(fc.tuple(fc.constantFrom(...names), value), { selector: ([name]) => name }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('back' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constantFrom('flush' as const, 'reopen' as const, 'read' as const) }),
      },
    );
    let round = 0;
    fc.assert(
      fc.property(fc.array(anyOperation, { maxLength: 60 }), (operations) => {
        const folder = join(dir, String((round += 1)));
        const model = new Map<string, Map<number, number>>();
        let store = MetricsStore.open(folder, manual);
        let step = 0;
        for (const operation of operations) {
          if (operation.kind === 'append') {
            step += operation.gap;
            store.append(step, Object.fromEntries(operation.values));
            for (const [name, number] of Object.entries(Object.fromEntries(operation.values))) {
              if (Number.isFinite(number)) {
                model.set(name, (model.get(name) ?? new Map<number, number>()).set(step, number));
              }
            }
          } else if (operation.kind === 'back') {
            step = Math.floor(step * operation.share);
            store.truncateFrom(step);
            for (const points of model.values()) {
              [...points.keys()].filter((at) => at >= step).forEach((at) => points.delete(at));
            }
          } else if (operation.kind === 'flush') {
            store.flush();
          } else if (operation.kind === 'reopen') {
            store.close();
            store = MetricsStore.open(folder, manual);
          }
          const expected = [...model].filter(([, points]) => points.size > 0);
          expect(store.names()).toEqual(expected.map(([name]) => name).sort());
          if (operation.kind !== 'append') {
            const read = store.read(undefined, 1000);
            expect(new Map(Object.entries(read))).toEqual(
              new Map(expected.map(([name, points]) => [name, [...points]])),
            );
          }
        }
        store.close();
      }),
      { numRuns: 60 },
    );
  });

  it('replaces points when steps are run again without an explicit truncation', () => {
    const store = MetricsStore.open(dir, manual);
    for (let step = 1; step <= 10; step += 1) {
      store.append(step, { loss: step });
    }
    store.flush();
    store.append(6, { loss: 60 });
    expect(store.read(['loss'], 100)['loss']).toEqual([...[1, 2, 3, 4, 5].map((n): Point => [n, n]), [6, 60]]);
    store.close();
  });

  it('lets series of different pace stand side by side', () => {
    const store = MetricsStore.open(dir, manual);
    store.append(391, { 'train/loss': 1 });
    store.append(395, { 'train/loss': 0.9 });
    store.append(391, { 'test/top1': 0.5 });
    expect(store.read(undefined, 100)).toEqual({
      'train/loss': [
        [391, 1],
        [395, 0.9],
      ],
      'test/top1': [[391, 0.5]],
    });
    store.close();
  });

  it('drops a torn tail wherever a kill cut it, and zeros left by a power cut', () => {
    const store = MetricsStore.open(dir, manual);
    for (let step = 0; step < 20; step += 1) {
      store.append(step, { loss: step / 3 });
    }
    store.close();
    const file = join(dir, 'loss.points');
    const whole = statSync(file).size;
    for (const cut of [1, 7, 15, 16, 17, 40]) {
      truncateSync(file, whole - cut);
      appendFileSync(file, Buffer.alloc(cut % 2 === 0 ? 48 : 0));
      const again = MetricsStore.open(dir, manual);
      const kept = 20 - Math.ceil(cut / 16);
      expect(again.read(['loss'], 100)['loss']).toEqual(Array.from({ length: kept }, (_, n) => [n, n / 3]));
      for (let step = kept; step < 20; step += 1) {
        again.append(step, { loss: step / 3 });
      }
      again.close();
      expect(statSync(file).size).toBe(whole);
    }
  });

  it('gives an empty list for a series that is not there, and passes over foreign files', () => {
    writeFileSync(join(dir, 'note.txt'), 'hello');
    const store = MetricsStore.open(dir, manual);
    expect(store.read(['nothing'], 10)).toEqual({ nothing: [] });
    expect(store.names()).toEqual([]);
    store.close();
  });

  it('refuses steps and names that it could not keep', () => {
    const store = MetricsStore.open(dir, manual);
    expect(() => store.append(-1, { loss: 1 })).toThrow(/whole number/);
    expect(() => store.append(0.5, { loss: 1 })).toThrow(/whole number/);
    expect(() => store.append(1, { '': 1 })).toThrow(/name/);
    expect(() => store.append(1, { ['x'.repeat(500)]: 1 })).toThrow(/name/);
    store.close();
    expect(() => store.append(1, { loss: 1 })).toThrow(/closed/);
  });

  it('reports a disk that takes nothing once, and still shows the points', () => {
    const problems: Error[] = [];
    const store = MetricsStore.open(dir, { ...manual, onProblem: (error) => problems.push(error) });
    store.append(0, { loss: 1 });
    rmSync(dir, { recursive: true });
    for (let step = 1; step < 10_000; step += 1) {
      store.append(step, { loss: 1 });
    }
    expect(problems).toHaveLength(1);
    expect(store.read(['loss'], 20_000)['loss']!.at(-1)).toEqual([9_999, 1]);
    expect(() => store.flush()).toThrow(/ENOENT/);
  });

  it('writes by itself within the flush interval', async () => {
    const store = MetricsStore.open(dir, { flushEveryMs: 5 });
    store.append(1, { loss: 1 });
    await expect.poll(() => statSync(join(dir, 'loss.points')).size).toBe(16);
    store.close();
  });

  it('holds 600,000 steps of 20 series in bounded memory and reads them thinned', () => {
    const names = Array.from({ length: 20 }, (_, n) => `series/${n}`);
    let store = MetricsStore.open(dir, manual);
    const values: Record<string, number> = {};
    for (let step = 0; step < 600_000; step += 1) {
      for (const [n, name] of names.entries()) {
        values[name] = step === 123_456 + n ? 1e9 : Math.sin(step / 1000) + n;
      }
      store.append(step, values);
    }
    store.close();
    expect(readdirSync(dir)).toHaveLength(20);
    store = MetricsStore.open(dir, manual);
    const before = process.memoryUsage();
    const read = store.read(undefined, 2000);
    const after = process.memoryUsage();
    for (const [n, name] of names.entries()) {
      expect(read[name]!.length).toBeLessThanOrEqual(2000);
      expect(read[name]!.length).toBeGreaterThan(1000);
      expect(read[name]!.at(-1)![0]).toBe(599_999);
      expect(read[name]).toContainEqual([123_456 + n, 1e9]);
    }
    expect(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers).toBeLessThan(64 * 2 ** 20);
    store.close();
  }, 60_000);
});
