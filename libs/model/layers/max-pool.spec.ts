import { describe, expect, it } from 'vitest';
import { dot64, maxPool64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { composedMaxPool } from './max-pool-composed.js';
import { fusedMaxPool } from './max-pool.js';

const routes = { fused: fusedMaxPool, composed: composedMaxPool };

describe.each(['fused', 'composed'] as const)('max pool, %s', (route) => {
  it.each([
    { side: 7, notNegative: true },
    { side: 8, notNegative: true },
    { side: 7, notNegative: false },
    { side: 8, notNegative: false },
    { side: 1, notNegative: false },
  ])('side $side, values not negative: $notNegative', ({ side, notNegative }) => {
    const before = liveTensors();
    const raw = randomArray([2, side, side, 3], 'x');
    const x = { shape: raw.shape, data: notNegative ? raw.data.map(Math.abs) : raw.data.map((value) => value - 3) };
    const expected = maxPool64(x);
    const [slope, addend] = [randomArray(expected.shape, 'slope'), randomArray(expected.shape, 'addend')];
    const xTensor = tensorOf({ ...x, data: x.data.map(Math.fround) });
    const pass = routes[route].forward(xTensor, notNegative);
    expect(pass.output.shape).toEqual(expected.shape);
    expect(relativeError(pass.output.readFloat32(), expected.data)).toBeLessThan(1e-6);
    const gradient = pass.backward({ main: tensorOf(slope), addend: tensorOf(addend) });
    const weights = slope.data.map((value, i) => value + addend.data[i]!);
    const byInput = numericGradient((moved) => dot64(maxPool64(moved).data, weights), x, 1e-7);
    expect(relativeError(take(gradient), byInput)).toBeLessThan(1e-6);
    for (const tensor of [xTensor, pass.output]) tensor.dispose();
    expect(liveTensors()).toBe(before);
  });

  it('gives the gradient to the first of equal values', () => {
    const xTensor = tensorOf({ shape: [1, 4, 4, 1], data: new Float64Array(16) });
    const pass = routes[route].forward(xTensor, true);
    const gradient = pass.backward({ main: tensorOf(randomArray([1, 2, 2, 1], 'slope')), addend: undefined });
    const taken = take(gradient);
    // With padding of zeros a composed window at the edge may choose a pixel of the padding; ours never does.
    if (route === 'fused') expect([...taken.keys()].filter((place) => taken[place] !== 0)).toEqual([0, 1, 4, 5]);
    else expect(taken[5]).not.toBe(0);
    for (const tensor of [xTensor, pass.output]) tensor.dispose();
  });
});
