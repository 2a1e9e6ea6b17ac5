import { describe, expect, it } from 'vitest';
import { modelOf } from '../../test/support/networks.js';
import { roundToBfloat16 } from './float-arrays.js';
import { fillWithInitialState } from './initial-form.js';
import { elementsOf, exactRanges } from './parameter-forms.js';
import { initialState, layoutOf } from './parameters.js';

describe('version 0 in the form in which workers hold it', () => {
  const model = modelOf('resnet20');
  const layout = layoutOf(model);
  const { parameters, statistics } = initialState(model, layout, 7);

  it('is the initial state in float32, whatever lay there before', () => {
    const found = new Float32Array(layout.parameterCount).fill(Number.NaN);
    const running = new Float32Array(layout.statisticCount).fill(Number.NaN);
    const tensors: number[] = [];
    fillWithInitialState({ parameters: found, statistics: running }, model, layout, 7, () => tensors.push(1));
    expect(found).toEqual(parameters);
    expect(running).toEqual(statistics);
    expect(tensors.length).toBe(layout.parameters.length);
  });

  it('is that rounded to bfloat16, and what stays float32 beside it', () => {
    const bits = new Uint16Array(layout.parameterCount).fill(0xffff);
    const ranges = exactRanges(layout, 'bfloat16');
    const exact = new Float32Array(elementsOf(ranges)).fill(Number.NaN);
    fillWithInitialState(
      { parameters: bits, exact, statistics: new Float32Array(layout.statisticCount) },
      model,
      layout,
      7,
    );
    const rounded = new Uint16Array(layout.parameterCount);
    roundToBfloat16(parameters, rounded);
    expect(bits).toEqual(rounded);
    expect([...exact]).toEqual(ranges.flatMap(({ from, to }) => [...parameters.subarray(from, to)]));
  });
});
