import { describe, expect, it } from 'vitest';
import { centerView, type ImageView, scaledTo, shorterSideFor, trainView } from './views.js';

const photo = { width: 500, height: 375 };
const SIZE = 224;

function views(augmentation: 'paper' | 'random-resized-crop', source = photo, count = 4000): ImageView[] {
  return Array.from({ length: count }, (_, sampleId) =>
    trainView(augmentation, source, SIZE, { seed: 1, epoch: sampleId % 3, sampleId }),
  );
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const flips = (all: readonly ImageView[]) => mean(all.map(({ flip }) => Number(flip)));

describe('centerView', () => {
  it('resizes the shorter side and cuts out the middle', () => {
    expect(centerView(photo, SIZE)).toEqual({
      across: { start: 0, size: 500, scaledSize: 341, first: 58 },
      down: { start: 0, size: 375, scaledSize: 256, first: 16 },
      flip: false,
      shift: [0, 0, 0],
    });
  });

  it('does not resize an image whose shorter side is right', () => {
    const { across, down } = centerView({ width: 300, height: 256 }, SIZE);
    expect([across.scaledSize, across.first, down.scaledSize, down.first]).toEqual([300, 38, 256, 16]);
  });

  it('keeps the proportion of 256 to 224 for other networks', () => {
    expect([shorterSideFor(224), shorterSideFor(299), shorterSideFor(64), shorterSideFor(32)]).toEqual([
      256, 342, 73, 37,
    ]);
    expect(scaledTo({ width: 100, height: 301 }, 73)).toEqual({ width: 73, height: 219 });
  });
});

describe('trainView', () => {
  it('depends on seed, epoch and sample alone', () => {
    const key = { seed: 5, epoch: 6, sampleId: 7 };
    for (const augmentation of ['paper', 'random-resized-crop'] as const) {
      const view = trainView(augmentation, photo, SIZE, key);
      expect(trainView(augmentation, photo, SIZE, key)).toEqual(view);
      for (const other of [{ seed: 6 }, { epoch: 5 }, { sampleId: 8 }]) {
        expect(trainView(augmentation, photo, SIZE, { ...key, ...other })).not.toEqual(view);
      }
    }
  });

  it('draws paper crops from every scale and place', () => {
    const all = views('paper');
    const sides = all.map(({ down }) => down.scaledSize);
    expect([Math.min(...sides), Math.max(...sides)]).toEqual([256, 480]);
    expect(new Set(sides).size).toBe(225);
    expect(Math.abs(mean(sides) - 368)).toBeLessThan(5);
    for (const { across, down } of all) {
      expect(across.scaledSize).toBe(Math.trunc((down.scaledSize * 500) / 375));
      for (const axis of [across, down]) {
        expect(axis.first).toBeGreaterThanOrEqual(0);
        expect(axis.first + SIZE).toBeLessThanOrEqual(axis.scaledSize);
      }
    }
    // Each place as often as another: in the middle on average.
    expect(Math.abs(mean(all.map(({ down }) => down.first / (down.scaledSize - SIZE))) - 0.5)).toBeLessThan(0.03);
    expect(Math.abs(flips(all) - 0.5)).toBeLessThan(0.04);
  });

  it("shifts colours along ImageNet's principal components, a tenth of their deviation", () => {
    const shifts = views('paper').map(({ shift }) => shift);
    for (let channel = 0; channel < 3; channel++) {
      const values = shifts.map((shift) => shift[channel]!);
      expect(Math.abs(mean(values))).toBeLessThan(0.001);
      // sqrt(sum over components of (0.1 * share * direction)^2), which the first component dominates.
      const deviation = Math.sqrt(mean(values.map((value) => value ** 2)));
      expect(Math.abs(deviation / [0.01242, 0.01264, 0.01276][channel]! - 1)).toBeLessThan(0.05);
    }
    // Mostly brightness: the channels move together.
    expect(mean(shifts.map(([red, , blue]) => Number(Math.sign(red) === Math.sign(blue))))).toBeGreaterThan(0.9);
  });

  it('draws crops of random area and shape', () => {
    const all = views('random-resized-crop');
    const areas = all.map(({ across, down }) => (across.size * down.size) / (500 * 375));
    expect(Math.min(...areas)).toBeGreaterThan(0.078);
    expect(Math.max(...areas)).toBeLessThanOrEqual(1);
    expect(Math.min(...areas)).toBeLessThan(0.1);
    expect(Math.max(...areas)).toBeGreaterThan(0.9);
    for (const { across, down, shift } of all) {
      expect(across.size / down.size).toBeGreaterThan(0.73);
      expect(across.size / down.size).toBeLessThan(1.36);
      expect(across.start + across.size).toBeLessThanOrEqual(500);
      expect(down.start + down.size).toBeLessThanOrEqual(375);
      expect([across.scaledSize, down.scaledSize, ...shift]).toEqual([SIZE, SIZE, 0, 0, 0]);
    }
    expect(Math.abs(flips(all) - 0.5)).toBeLessThan(0.04);
  });

  it('takes the middle of an image that no allowed shape fits', () => {
    for (const { across, down } of views('random-resized-crop', { width: 1000, height: 10 }, 20)) {
      expect([across.size, down.size, across.start, down.start]).toEqual([13, 10, 493, 0]);
    }
    for (const { across, down } of views('random-resized-crop', { width: 9, height: 900 }, 20)) {
      expect([across.size, down.size, across.start, down.start]).toEqual([9, 12, 0, 444]);
    }
  });
});
