import { describe, expect, it } from 'vitest';
import { resolveJobSpec } from './job-spec.js';
import { loadModelTensors, loadMomentumTensors, modelTensors, momentumTensors } from './model-tensors.js';
import { layoutOf, type ParameterLayout } from './parameters.js';
import type { StoredTensor, TensorSource } from './safetensors.js';

const { model } = resolveJobSpec({ preset: 'resnet20-synthetic' });
const layout = layoutOf(model);
const counting = (length: number, from = 0): Float32Array => Float32Array.from({ length }, (_, index) => index + from);
const parameters = counting(layout.parameterCount);
const statistics = counting(layout.statisticCount, 0.5);

function stored(sources: readonly TensorSource[]): Map<string, StoredTensor> {
  return new Map(
    sources.map(({ name, shape, values }) => [
      name,
      { dtype: 'F32', shape, bytes: new Uint8Array(values().slice().buffer) },
    ]),
  );
}

describe('model tensors', () => {
  it('carry filters as OIHW and the dense layer as [out, in]', () => {
    const sources = modelTensors(layout, parameters, statistics);
    for (const entry of layout.parameters) {
      const source = sources.find(({ name }) => name === entry.name)!;
      const values = source.values();
      const at = (index: number): number => parameters[entry.offset + index]!;
      if (entry.role === 'filter') {
        const [height, width, inputs, outputs] = entry.shape as [number, number, number, number];
        expect(source.shape).toEqual([outputs, inputs, height, width]);
        for (const [o, i, y, x] of [
          [0, 0, 0, 0],
          [1, 2, 2, 1],
          [outputs - 1, inputs - 1, height - 1, width - 1],
        ] as const) {
          const found = values[((o * inputs + i) * height + y) * width + x];
          expect(found).toBe(at(((y * width + x) * inputs + i) * outputs + o));
        }
      } else if (entry.role === 'dense') {
        const [inputs, outputs] = entry.shape as [number, number];
        expect(source.shape).toEqual([outputs, inputs]);
        expect(values[3 * inputs + 5]).toBe(at(5 * outputs + 3));
      } else {
        expect([...values]).toEqual([...parameters.subarray(entry.offset, entry.offset + entry.size)]);
      }
    }
    expect(sources.map(({ name }) => name)).toContain('bn1.running_mean');
  });

  it('come back as the same flat vectors', () => {
    const tensors = stored(modelTensors(layout, parameters, statistics));
    tensors.set('bn1.num_batches_tracked', { dtype: 'I64', shape: [], bytes: new Uint8Array(8) });
    const [p, s] = [new Float32Array(layout.parameterCount), new Float32Array(layout.statisticCount)];
    loadModelTensors(layout, tensors, p, s, 'file');
    expect(p).toEqual(parameters);
    expect(s).toEqual(statistics);
    const momentum = new Float32Array(layout.parameterCount);
    loadMomentumTensors(layout, stored(momentumTensors(layout, parameters)), momentum, 'file');
    expect(momentum).toEqual(parameters);
  });

  it('of another network are refused by name', () => {
    const load = (change: (tensors: Map<string, StoredTensor>) => void): (() => void) => {
      const tensors = stored(modelTensors(layout, parameters, statistics));
      change(tensors);
      const [p, s] = [new Float32Array(layout.parameterCount), new Float32Array(layout.statisticCount)];
      return () => loadModelTensors(layout, tensors, p, s, 'm.safetensors');
    };
    expect(load((tensors) => tensors.delete('conv1.weight'))).toThrow('m.safetensors lacks conv1.weight');
    expect(load((tensors) => tensors.set('extra', tensors.get('fc.bias')!))).toThrow('m.safetensors has extra');
    expect(load((tensors) => tensors.set('fc.bias', { ...tensors.get('fc.bias')!, shape: [2, 5] }))).toThrow(
      'fc.bias has shape [2, 5], the network needs [10]',
    );
  });
});

it('filters of every size keep their numbers through the tiles', () => {
  for (const shape of [
    [1, 1, 70, 33],
    [3, 3, 40, 65],
    [7, 7, 3, 64],
  ]) {
    const size = shape.reduce((product, side) => product * side, 1);
    const one: ParameterLayout = {
      parameters: [{ name: 'w', shape, offset: 0, size, role: 'filter' }],
      statistics: [],
      parameterCount: size,
      statisticCount: 0,
      hash: 'made for this test',
    };
    const back = new Float32Array(size);
    loadMomentumTensors(one, stored(momentumTensors(one, counting(size))), back, 'file');
    expect(back).toEqual(counting(size));
  }
});
