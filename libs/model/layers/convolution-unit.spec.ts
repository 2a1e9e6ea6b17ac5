import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadedParameters, modelOf } from '../../../test/support/networks.js';
import { randomArray, tensorOf } from '../../../test/support/random-tensors.js';
import { fixedRule } from '../kernel-table.js';
import type { ModelSpec } from '../job-spec.js';
import { planOf } from '../resnet.js';
import { liveTensors } from '../tensorflow/tensor.js';
import type { Tensor } from '../tensorflow/tensor.js';
import { ConvolutionUnit } from './convolution-unit.js';
import type { GradientSink } from './sink.js';
import { whole } from './split-gradient.js';

const ignore: GradientSink = { onGradient: () => undefined, onStatistics: () => undefined };
let before = 0;
let x: Tensor;
beforeEach(() => {
  before = liveTensors();
  x = tensorOf(randomArray([2, 8, 8, 3], 'x'));
});
afterEach(() => {
  x.dispose();
  expect(liveTensors()).toBe(before);
});

/** A stem whose forward in training is over. */
function trained(
  changes: Partial<ModelSpec>,
  residual?: Tensor,
): { unit: ConvolutionUnit; output: Tensor; end: () => void } {
  const model = modelOf('resnet8', changes);
  const source = loadedParameters(model, 'float32');
  const unit = new ConvolutionUnit(planOf(model).stem, model.activation, source, fixedRule);
  const output = unit.forward(x, true, residual);
  return {
    unit,
    output,
    /** Backward frees what is left, whether the output is there or not. */
    end: () => {
      unit.beginBackward(whole(tensorOf(randomArray(output.shape, 'slope'))))?.dispose();
      unit.endBackwardAtImages(x, ignore);
      unit.reportStatistics(ignore);
      source.dispose();
    },
  };
}

describe('the output of a unit in training', () => {
  it('is freed when it is given back, and made again with the same bits', () => {
    const { unit, output, end } = trained({});
    expect(unit.lend()).toBe(output);
    const values = output.readFloat32();
    const held = liveTensors();
    unit.giveBack();
    unit.giveBack();
    expect(output.disposed).toBe(true);
    expect(liveTensors()).toBe(held - 1);
    const again = unit.lend();
    expect(unit.lend()).toBe(again);
    expect(liveTensors()).toBe(held);
    expect(again.readFloat32()).toEqual(values);
    unit.giveBack();
    end();
  });

  it.each([
    ['another activation', { activation: 'tanh' }, false],
    ['no batch norm', { batchNorm: false }, false],
    ['a residual', {}, true],
  ] as const)('stays where backward wants it itself: %s', (_, changes, hasResidual) => {
    const residual = hasResidual ? tensorOf(randomArray([2, 8, 8, 16], 'residual')) : undefined;
    const { unit, output, end } = trained(changes, residual);
    unit.giveBack();
    expect(unit.lend()).toBe(output);
    expect(output.disposed).toBe(false);
    end();
    residual?.dispose();
  });

  it('is not there before a forward pass and after backward', () => {
    const { unit, end } = trained({});
    end();
    expect(() => unit.lend()).toThrow('conv1: no forward pass in training');
    expect(() => unit.giveBack()).not.toThrow();
  });
});
