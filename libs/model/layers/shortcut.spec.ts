import { describe, expect, it } from 'vitest';
import { dot64, numericGradient, relativeError } from '../../../test/support/float64-layers.js';
import type { Array64 } from '../../../test/support/float64-layers.js';
import { randomArray, take, tensorOf } from '../../../test/support/random-tensors.js';
import { liveTensors } from '../tensorflow/tensor.js';
import { fixedRule } from '../kernel-table.js';
import type { Tensor } from '../tensorflow/tensor.js';
import type { Lent } from './lent.js';
import { shortcutOf } from './shortcut.js';
import type { GradientSink, ParameterSource } from './sink.js';

const sink: GradientSink = { onGradient: () => undefined, onStatistics: () => undefined };
const source: ParameterSource = {
  entry: (name) => {
    throw new Error(`${name} has no business here`);
  },
  tensor: () => {
    throw new Error('no parameters here');
  },
};

const lent = (x: Tensor): Lent => ({ lend: () => x, giveBack: () => undefined });

/** Option A written out. */
function subsample64(x: Array64, stride: number, outputs: number): Array64 {
  const [n, height, width, inputs] = x.shape as [number, number, number, number];
  const [rows, columns] = [Math.ceil(height / stride), Math.ceil(width / stride)];
  const data = new Float64Array(n * rows * columns * outputs);
  for (let image = 0; image < n; image++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const from = ((image * height + row * stride) * width + column * stride) * inputs;
        data.set(x.data.subarray(from, from + inputs), ((image * rows + row) * columns + column) * outputs);
      }
    }
  }
  return { shape: [n, rows, columns, outputs], data };
}

describe('shortcut A', () => {
  it.each([
    { side: 8, stride: 2, outputs: 6 },
    { side: 7, stride: 2, outputs: 6 },
    { side: 8, stride: 1, outputs: 5 },
    { side: 8, stride: 2, outputs: 3 },
  ])('side $side, stride $stride, 3 -> $outputs channels', ({ side, stride, outputs }) => {
    const before = liveTensors();
    const x = randomArray([2, side, side, 3], 'x');
    const expected = subsample64(x, stride, outputs);
    const slope = randomArray(expected.shape, 'slope');
    const shortcut = shortcutOf({ kind: 'subsample', stride, inputs: 3, outputs }, source, fixedRule)!;
    const [xTensor, slopeTensor] = [tensorOf(x), tensorOf(slope)];
    const output = shortcut.forward(xTensor, true);
    expect(output.shape).toEqual(expected.shape);
    expect(relativeError(take(output), expected.data)).toBe(0);
    const gradient = shortcut.backward(slopeTensor, lent(xTensor), sink);
    const byInput = numericGradient((moved) => dot64(subsample64(moved, stride, outputs).data, slope.data), x);
    expect(relativeError(take(gradient), byInput)).toBeLessThan(1e-6);
    xTensor.dispose();
    expect(liveTensors()).toBe(before);
  });
});

it('identity hands its argument through, plain nets have none', () => {
  const x = tensorOf(randomArray([1, 2, 2, 3], 'x'));
  const identity = shortcutOf({ kind: 'identity' }, source, fixedRule)!;
  expect(identity.forward(x, true)).toBe(x);
  expect(identity.backward(x, lent(x), sink)).toBe(x);
  expect(shortcutOf({ kind: 'none' }, source, fixedRule)).toBeUndefined();
  x.dispose();
});
