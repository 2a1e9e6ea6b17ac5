import { expect, it } from 'vitest';
import { randomArray, tensorOf } from '../../../test/support/random-tensors.js';
import { roundToBfloat16 } from '../float-arrays.js';
import { readByCopy, readInto } from './bfloat16.js';
import { cast } from './kernels.js';
import { liveTensors } from './tensor.js';

it.each([1, 15, 16, 1000])('reads %i numbers of either type as either type, on both ways', (size) => {
  const before = liveTensors();
  const exact = tensorOf(randomArray([size], 'x'));
  const values = exact.readFloat32();
  const bits = new Uint16Array(size);
  roundToBfloat16(values, bits);
  const widened = new Float32Array(Uint32Array.from(bits, (half) => half << 16).buffer);
  const rounded = cast(exact, 'bfloat16');
  for (const read of [readInto, readByCopy]) {
    const memory = { floats: new Float32Array(size + 2).fill(7), halves: new Uint16Array(size + 2).fill(7) };
    const [floats, halves] = [memory.floats.subarray(1, size + 1), memory.halves.subarray(1, size + 1)];
    read(exact, floats);
    read(exact, halves);
    expect([floats, halves]).toEqual([values, bits]);
    read(rounded, floats);
    expect(floats).toEqual(widened);
    halves.fill(0);
    read(rounded, halves);
    expect(halves).toEqual(bits);
    for (const array of [memory.floats, memory.halves]) expect([array[0], array.at(-1)]).toEqual([7, 7]);
  }
  for (const tensor of [exact, rounded]) tensor.dispose();
  expect(liveTensors()).toBe(before);
});

it('refuses an array of another length', () => {
  const tensor = tensorOf(randomArray([4], 'x'));
  expect(() => readInto(tensor, new Float32Array(3))).toThrow(/not as long as the tensor/);
  tensor.dispose();
});
