import { describe, expect, it } from 'vitest';
import { architectureOf, isArchitecture, isCifarForm } from './architecture.js';

describe('architectures', () => {
  it('knows the family and its plain twins', () => {
    for (const depth of [18, 34, 50, 101, 152]) {
      for (const kind of ['resnet', 'plain']) {
        expect(architectureOf(`${kind}${depth}`)).toMatchObject({ form: 'imagenet', residual: kind === 'resnet' });
        expect(isCifarForm(`${kind}${depth}`)).toBe(false);
      }
    }
    for (const depth of [8, 14, 20, 32, 44, 56, 110, 1202]) {
      expect(architectureOf(`resnet${depth}`)?.stages.map(({ blocks }) => blocks)).toEqual(
        Array.from({ length: 3 }, () => (depth - 2) / 6),
      );
      expect(isCifarForm(`plain${depth}`)).toBe(true);
    }
  });

  it('puts the stride where the name says', () => {
    expect(architectureOf('resnet50')?.bottleneckStride).toBe('first');
    expect(architectureOf('resnet50-v1.5')?.bottleneckStride).toBe('middle');
  });

  it.each([
    'resnet',
    'resnet7',
    'resnet9',
    'resnet2',
    'resnet18-v1.5',
    'resnet20-v1.5',
    'resnet020',
    'resnet1208',
    'vgg16',
    'ResNet50',
    '',
  ])('does not know %j', (name) => {
    expect(isArchitecture(name)).toBe(false);
  });
});
