import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  clipFactor,
  decayRanges,
  NORM_BLOCK_ELEMENTS,
  sgdOverRanges,
  sgdRange,
  squaredNorm,
  sumOfSquares,
  updateStatisticsRange,
  type SgdUpdate,
} from './optimizer.js';
import type { ParameterLayout } from './parameters.js';
import { sumTree } from './reduction.js';

const bitsOf = (x: Float32Array): number[] => [...new Uint32Array(x.buffer, x.byteOffset, x.length)];
const finite = fc.float({ noNaN: true, noDefaultInfinity: true, min: -100, max: 100 });
const vectors = fc.array(fc.tuple(finite, finite, finite), { minLength: 1, maxLength: 60 });
const settings = fc.record({
  learningRate: fc.double({ min: 1e-4, max: 1, noNaN: true }),
  momentumFactor: fc.constantFrom(0, 0.5, 0.9),
  nesterov: fc.boolean(),
  weightDecay: fc.constantFrom(0, 1e-4, 5e-4),
  scale: fc.constantFrom(1, 0.3),
});

function updateOf(
  rows: readonly (readonly [number, number, number])[],
  numbers: Omit<SgdUpdate, 'parameters' | 'momentum' | 'gradient' | 'outParameters' | 'outMomentum' | 'from' | 'to'>,
): SgdUpdate {
  return {
    parameters: Float32Array.from(rows, ([value]) => value),
    momentum: Float32Array.from(rows, ([, value]) => value),
    gradient: Float32Array.from(rows, ([, , value]) => value),
    outParameters: new Float32Array(rows.length),
    outMomentum: new Float32Array(rows.length),
    from: 0,
    to: rows.length,
    ...numbers,
  };
}

/** The same definition with one-element Float32Arrays in place of Math.fround: every store rounds. */
function referenceStep(update: SgdUpdate, weightDecay: number, index: number): { parameter: number; velocity: number } {
  const cell = (value: number): number => Float32Array.of(value)[0]!;
  const [rate, factor, decay, scale] = [update.learningRate, update.momentumFactor, weightDecay, update.scale].map(
    cell,
  ) as [number, number, number, number];
  const scaled = cell(update.gradient[index]! * scale);
  const direction = decay === 0 ? scaled : cell(scaled + cell(decay * update.parameters[index]!));
  const velocity = cell(cell(factor * update.momentum[index]!) + direction);
  const move = update.nesterov ? cell(direction + cell(factor * velocity)) : velocity;
  return { parameter: cell(update.parameters[index]! - cell(rate * move)), velocity };
}

describe('sgdRange', () => {
  it('gives the bits of its definition, leaves its inputs alone, and any cut into ranges gives the same', () => {
    fc.assert(
      fc.property(vectors, settings, fc.nat(60), (rows, { weightDecay, ...numbers }, cut) => {
        const update = updateOf(rows, numbers);
        const before = [update.parameters, update.momentum, update.gradient].map((x) => x.slice());
        expect(sgdRange({ ...update, weightDecay })).toBe(true);
        rows.forEach((_, index) => {
          const expected = referenceStep(update, weightDecay, index);
          expect(update.outParameters[index]).toBe(expected.parameter);
          expect(update.outMomentum[index]).toBe(expected.velocity);
        });
        expect([update.parameters, update.momentum, update.gradient]).toEqual(before);

        const middle = Math.min(cut, rows.length);
        const outParameters = new Float32Array(rows.length);
        const outMomentum = new Float32Array(rows.length);
        sgdRange({ ...update, outParameters, outMomentum, to: middle, weightDecay });
        sgdRange({ ...update, outParameters, outMomentum, from: middle, weightDecay });
        expect(bitsOf(outParameters)).toEqual(bitsOf(update.outParameters));
        expect(bitsOf(outMomentum)).toEqual(bitsOf(update.outMomentum));
      }),
    );
  });

  it("follows torch's SGD on a worked example (momentum 0.9, weight decay 0.1, rate 0.5, two steps)", () => {
    const first = updateOf([[1, 0, 0.2]], { learningRate: 0.5, momentumFactor: 0.9, nesterov: false, scale: 1 });
    sgdRange({ ...first, weightDecay: 0.1 });
    expect(first.outMomentum[0]).toBeCloseTo(0.3, 6);
    expect(first.outParameters[0]).toBeCloseTo(0.85, 6);
    const second = {
      ...first,
      parameters: first.outParameters,
      momentum: first.outMomentum,
      outParameters: new Float32Array(1),
      outMomentum: new Float32Array(1),
    };
    sgdRange({ ...second, weightDecay: 0.1 });
    expect(second.outMomentum[0]).toBeCloseTo(0.555, 6);
    expect(second.outParameters[0]).toBeCloseTo(0.5725, 6);
  });

  it('says when an output is not finite, wherever it is', () => {
    for (const bad of [Number.NaN, Infinity, -Infinity, 3e38]) {
      const rows: [number, number, number][] = Array.from({ length: 9 }, () => [1, 0, 1]);
      rows[5] = [1, 3e38, bad];
      const update = updateOf(rows, { learningRate: 2, momentumFactor: 0.9, nesterov: false, scale: 1 });
      expect(sgdRange({ ...update, weightDecay: 0 })).toBe(false);
      expect(sgdRange({ ...update, to: 5, weightDecay: 0 })).toBe(true);
    }
  });

  it('refuses to write in place', () => {
    const update = updateOf([[1, 1, 1]], { learningRate: 1, momentumFactor: 0, nesterov: false, scale: 1 });
    expect(() => sgdRange({ ...update, outParameters: update.parameters, weightDecay: 0 })).toThrow('own inputs');
  });
});

const layout: ParameterLayout = {
  parameters: [
    { name: 'conv1.weight', shape: [1, 1, 2, 2], offset: 0, size: 4, role: 'filter' },
    { name: 'bn1.weight', shape: [2], offset: 4, size: 2, role: 'gamma' },
    { name: 'bn1.bias', shape: [2], offset: 6, size: 2, role: 'beta' },
    { name: 'fc.weight', shape: [2, 3], offset: 8, size: 6, role: 'dense' },
    { name: 'fc.bias', shape: [3], offset: 14, size: 3, role: 'bias' },
  ],
  statistics: [],
  parameterCount: 17,
  statisticCount: 0,
  hash: 'made for this test',
};
const optimizer = { kind: 'sgd', momentum: 0.9, nesterov: false, weightDecay: 0.1, clipNorm: null } as const;

describe('decay ranges', () => {
  it('are one range, or spare scales, shifts and biases', () => {
    expect(decayRanges(layout, { ...optimizer, decayBatchNorm: true })).toEqual([
      { from: 0, to: 17, weightDecay: 0.1 },
    ]);
    expect(decayRanges(layout, { ...optimizer, decayBatchNorm: false })).toEqual([
      { from: 0, to: 4, weightDecay: 0.1 },
      { from: 4, to: 8, weightDecay: 0 },
      { from: 8, to: 14, weightDecay: 0.1 },
      { from: 14, to: 17, weightDecay: 0 },
    ]);
  });

  it('are applied element by element, whatever block is asked for', () => {
    const ranges = decayRanges(layout, { ...optimizer, decayBatchNorm: false });
    fc.assert(
      fc.property(fc.nat(17), fc.nat(17), (a, b) => {
        const update = updateOf(
          Array.from({ length: 17 }, (_, index) => [index, 0, 1] as const),
          { learningRate: 1, momentumFactor: 0, nesterov: false, scale: 1 },
        );
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        sgdOverRanges({ ...update, from, to }, ranges);
        for (let index = 0; index < 17; index++) {
          const weightDecay = ranges.find((range) => index >= range.from && index < range.to)!.weightDecay;
          const expected = index >= from && index < to ? referenceStep(update, weightDecay, index).parameter : 0;
          expect(update.outParameters[index]).toBe(expected);
        }
      }),
    );
  });
});

describe('running statistics', () => {
  it('move a tenth of the way, in float32', () => {
    const update = {
      statistics: Float32Array.of(1, 2),
      batch: Float32Array.of(3, 2),
      outStatistics: new Float32Array(2),
      from: 0,
      to: 2,
    };
    expect(updateStatisticsRange(update)).toBe(true);
    const tenth = Math.fround(0.1);
    expect([...update.outStatistics]).toEqual([Math.fround(1 + Math.fround(tenth * 2)), 2]);
    expect(updateStatisticsRange({ ...update, batch: Float32Array.of(Number.NaN, 0) })).toBe(false);
  });
});

describe('norm', () => {
  it('squared norm: the tree over block sums, so that owners of single blocks get the same bits', () => {
    const x = Float32Array.from({ length: 3 * NORM_BLOCK_ELEMENTS + 17 }, (_, index) => Math.sin(index) * 1e-3);
    const sums = [0, 1, 2, 3].map((block) =>
      sumOfSquares(x, block * NORM_BLOCK_ELEMENTS, Math.min((block + 1) * NORM_BLOCK_ELEMENTS, x.length)),
    );
    expect(squaredNorm(x)).toBe(sumTree(sums));
    const plain = x.reduce((sum, value) => sum + value * value, 0);
    expect(Math.abs(squaredNorm(x) / plain - 1)).toBeLessThan(1e-12);
    expect(squaredNorm(Float32Array.of(3, 4))).toBe(25);
  });

  it('clips only what is too long', () => {
    expect(clipFactor(25, null)).toBe(1);
    expect(clipFactor(25, 10)).toBe(1);
    expect(clipFactor(25, 1)).toBe(0.2);
  });
});
