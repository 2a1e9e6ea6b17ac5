import { describe, expect, it } from 'vitest';
import { addon } from './addon.js';
import { readInto } from './bfloat16.js';
import { KernelError, observeKernels } from './kernel.js';
import { addV2, cast, relu, reluGrad } from './kernels.js';
import { disposeOnError, int32Constant, liveTensors, Tensor } from './tensor.js';

function wide(tensor: Tensor): Float32Array {
  const values = new Float32Array(tensor.size);
  readInto(tensor, values);
  return values;
}

describe('ownership', () => {
  it('counts live tensors as the addon does, constants apart', () => {
    const [mine, addons] = [liveTensors(), addon().getNumOfTensors()];
    const tensor = Tensor.of(Float32Array.of(1, 2, 3), [3]);
    expect(liveTensors()).toBe(mine + 1);
    expect(addon().getNumOfTensors()).toBe(addons + 1);
    tensor.dispose();
    expect(liveTensors()).toBe(mine);
    expect(int32Constant([5, 6, 7, 8])).toBe(int32Constant([5, 6, 7, 8]));
    expect(liveTensors()).toBe(mine);
    expect(addon().getNumOfTensors()).toBe(addons + 1);
  });

  it('throws on use after disposal and on a second disposal', () => {
    const tensor = Tensor.of(Float32Array.of(1, 2), [2]);
    tensor.dispose();
    expect(() => tensor.readFloat32()).toThrow('use of a disposed float32 tensor of shape [2]');
    expect(() => relu(tensor)).toThrow('disposed');
    expect(() => tensor.dispose()).toThrow('disposed');
  });

  it('frees what was made before an error, also in scopes within', () => {
    const before = liveTensors();
    const outer = Tensor.of(Float32Array.of(1), [1]);
    expect(() =>
      disposeOnError(() => {
        const kept = disposeOnError(() => relu(outer));
        const own = addV2(kept, outer);
        own.dispose();
        relu(kept);
        throw new Error('meant');
      }),
    ).toThrow('meant');
    expect(liveTensors()).toBe(before + 1);
    outer.dispose();
  });

  it('names kernel and shapes when TensorFlow refuses', () => {
    const [a, b] = [Tensor.of(new Float32Array(2), [2]), Tensor.of(new Float32Array(3), [3])];
    expect(() => addV2(a, b)).toThrow(KernelError);
    expect(() => addV2(a, b)).toThrow('kernel AddV2(float32[2], float32[3]) failed');
    for (const tensor of [a, b]) tensor.dispose();
  });

  it('tells an observer of each kernel', () => {
    const seen: string[] = [];
    observeKernels((kernel) => seen.push(kernel));
    const tensor = Tensor.of(Float32Array.of(-1, 1), [2]);
    relu(tensor).dispose();
    observeKernels(undefined);
    relu(tensor).dispose();
    tensor.dispose();
    expect(seen).toEqual(['Relu']);
  });
});

describe('bfloat16', () => {
  const values = Float32Array.of(0, -0, 1, -1.5, 3.14159274, -65504, 1e-30, 3e38);
  const bits = Uint16Array.of(0, 0x8000, 0x3f80, 0xbfc0, 0x4049, 0xc780, 0x0da2, 0x7f62);

  it('reads values and bits, rounded to nearest even', () => {
    const exact = Tensor.of(values, [8]);
    const rounded = cast(exact, 'bfloat16');
    const halves = new Uint16Array(8);
    readInto(rounded, halves);
    expect(halves).toEqual(bits);
    expect(new Uint16Array(new Uint32Array(wide(rounded).buffer).map((word) => word >>> 16))).toEqual(bits);
    readInto(exact, halves);
    expect(halves).toEqual(bits);
    expect(() => rounded.readFloat32()).toThrow('cannot be read as float32');
    for (const tensor of [exact, rounded]) tensor.dispose();
  });

  it('rectifies on the bits as on the values', () => {
    const exact = Tensor.of(values, [8]);
    const x = cast(exact, 'bfloat16');
    const slopes = Tensor.of(Float32Array.of(1, 2, 3, 4, -5, 6, 7, -8), [8]);
    const slope = cast(slopes, 'bfloat16');
    const y = relu(x);
    const gradient = reluGrad(slope, y);
    expect([...wide(y)].map((value, i) => value === Math.max(0, wide(x)[i]!))).not.toContain(false);
    expect([...wide(gradient)].map(Math.abs)).toEqual([0, 0, 3, 0, 5, 0, 7, 8]);
    for (const tensor of [exact, x, slopes, slope, y, gradient]) tensor.dispose();
  });
});
