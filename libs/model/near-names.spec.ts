import { describe, expect, it } from 'vitest';
import { alternatives, nearNames } from './near-names.js';

describe('nearNames', () => {
  it('finds slips of the pen, beginnings and other cases, nearest first', () => {
    expect(nearNames('trainnig', ['name', 'training', 'dataset'])).toEqual(['training']);
    expect(nearNames('learning', ['learningRate', 'gamma'])).toEqual(['learningRate']);
    expect(nearNames('ResNet20', ['plain20', 'resnet20', 'resnet56'])[0]).toBe('resnet20');
    expect(nearNames('batchsize', ['batchSize'])).toEqual(['batchSize']);
  });

  it('suggests nothing for what is like no name', () => {
    expect(nearNames('xyz', ['training', 'dataset'])).toEqual([]);
    expect(nearNames('', ['a'])).toEqual(['a']);
  });
});

describe('alternatives', () => {
  it('joins with commas and or', () => {
    expect([[], ['a'], ['a', 'b'], ['a', 'b', 'c']].map(alternatives)).toEqual(['', 'a', 'a or b', 'a, b or c']);
  });
});
