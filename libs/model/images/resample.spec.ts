import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { axisWeights, type AxisWeights, type AxisWindow, resample, sourceRange } from './resample.js';

const WIDTH = 40;
const HEIGHT = 30;

/** A box within `size` pixels, and a window of what it is scaled to. */
function windows(size: number): fc.Arbitrary<AxisWindow> {
  return fc
    .tuple(fc.integer({ min: 1, max: size }), fc.integer({ min: 1, max: 50 }), fc.nat(1000), fc.nat(1000), fc.nat(1000))
    .map(([boxSize, scaledSize, where, from, length]) => {
      const first = from % scaledSize;
      return {
        boxStart: where % (size - boxSize + 1),
        boxSize,
        scaledSize,
        first,
        count: 1 + (length % (scaledSize - first)),
      };
    });
}

const pixels = fc.uint8Array({ minLength: WIDTH * HEIGHT * 3, maxLength: WIDTH * HEIGHT * 3 });

function resized(source: Uint8Array, across: AxisWindow, down: AxisWindow): Uint8Array {
  const out = new Uint8Array(across.count * down.count * 3);
  resample(source, { left: 0, top: 0, width: WIDTH }, axisWeights(across), axisWeights(down), out);
  return out;
}

/** The triangle filter as a formula, in floating point. */
function triangle(at: (index: number) => number, { boxStart, boxSize, scaledSize, first }: AxisWindow, index: number) {
  const scale = boxSize / scaledSize;
  const reach = Math.max(1, scale);
  const center = boxStart + (first + index + 0.5) * scale;
  let [sum, weights] = [0, 0];
  for (let pixel = boxStart; pixel < boxStart + boxSize; pixel++) {
    const weight = Math.max(0, 1 - Math.abs(pixel + 0.5 - center) / reach);
    sum += weight * at(pixel);
    weights += weight;
  }
  return sum / weights;
}

/** The same sums as a formula in whole numbers. */
function plainResample(source: Uint8Array, width: number, columns: AxisWeights, rows: AxisWeights): Uint8Array {
  const mixed = ({ starts, taps, weights, stride }: AxisWeights, index: number, at: (place: number) => number) => {
    let sum = 2 ** 21;
    for (let tap = 0; tap < taps[index]!; tap++) sum += weights[index * stride + tap]! * at(starts[index]! + tap);
    return Math.floor(sum / 2 ** 22);
  };
  const count = columns.starts.length;
  return Uint8Array.from({ length: 3 * count * rows.starts.length }, (_, index) => {
    const [row, column, channel] = [Math.floor(index / 3 / count), Math.floor(index / 3) % count, index % 3];
    return mixed(rows, row, (y) => mixed(columns, column, (x) => source[3 * (y * width + x) + channel]!));
  });
}

describe('resample', () => {
  it('is the triangle filter over the box, to within the rounding of its two passes', () => {
    fc.assert(
      fc.property(pixels, windows(WIDTH), windows(HEIGHT), (source, across, down) => {
        const out = resized(source, across, down);
        const column = Math.floor(across.count / 2);
        for (let row = 0; row < down.count; row++) {
          for (let channel = 0; channel < 3; channel++) {
            const at = (y: number) => triangle((x) => source[3 * (y * WIDTH + x) + channel]!, across, column);
            const expected = triangle(at, down, row);
            expect(Math.abs(out[3 * (row * across.count + column) + channel]! - expected)).toBeLessThan(1.01);
          }
        }
      }),
    );
  });

  it('gives the bytes of whole numbers added up one by one', () => {
    fc.assert(
      fc.property(pixels, windows(WIDTH), windows(HEIGHT), (source, across, down) => {
        const expected = plainResample(source, WIDTH, axisWeights(across), axisWeights(down));
        expect(Buffer.compare(resized(source, across, down), expected)).toBe(0);
      }),
    );
  });

  it('gives them for an image that is brought to the kernels in several strips, and by very many taps', () => {
    const [width, height] = [701, 907];
    const source = Uint8Array.from({ length: 3 * width * height }, (_, index) => (index * 2_654_435_761) >>> 24);
    for (const [columns, rows] of [
      [9, 11],
      [1, 3],
    ] as const) {
      const across = axisWeights({ boxStart: 0, boxSize: width, scaledSize: columns, first: 0, count: columns });
      const down = axisWeights({ boxStart: 0, boxSize: height, scaledSize: rows, first: 0, count: rows });
      const out = new Uint8Array(3 * columns * rows);
      resample(source, { left: 0, top: 0, width }, across, down, out);
      expect([...out]).toEqual([...plainResample(source, width, across, down)]);
    }
    const white = new Uint8Array(3 * width * height).fill(255);
    const [one] = [axisWeights({ boxStart: 0, boxSize: width, scaledSize: 1, first: 0, count: 1 })];
    const out = new Uint8Array(3);
    resample(white, { left: 0, top: 0, width }, one, one, out);
    expect([...out]).toEqual([255, 255, 255]);
  });

  it('gives the same bytes for a window as for the whole, cut', () => {
    fc.assert(
      fc.property(pixels, windows(WIDTH), windows(HEIGHT), (source, across, down) => {
        const whole = resized(
          source,
          { ...across, first: 0, count: across.scaledSize },
          { ...down, first: 0, count: down.scaledSize },
        );
        const out = resized(source, across, down);
        for (let row = 0; row < down.count; row++) {
          const from = 3 * ((row + down.first) * across.scaledSize + across.first);
          expect(out.slice(3 * row * across.count, 3 * (row + 1) * across.count)).toEqual(
            whole.slice(from, from + 3 * across.count),
          );
        }
      }),
    );
  });

  it('leaves pixels alone where nothing is scaled', () => {
    fc.assert(
      fc.property(pixels, (source) => {
        const across = { boxStart: 0, boxSize: WIDTH, scaledSize: WIDTH, first: 5, count: 20 };
        const down = { boxStart: 0, boxSize: HEIGHT, scaledSize: HEIGHT, first: 3, count: 20 };
        const out = resized(source, across, down);
        for (let row = 0; row < 20; row++) {
          const from = 3 * ((row + 3) * WIDTH + 5);
          expect(out.slice(60 * row, 60 * (row + 1))).toEqual(source.slice(from, from + 60));
        }
      }),
    );
  });

  it('needs no more of the source than it says', () => {
    fc.assert(
      fc.property(pixels, windows(WIDTH), windows(HEIGHT), (source, across, down) => {
        const [columns, rows] = [axisWeights(across), axisWeights(down)];
        const [x, y] = [sourceRange(columns), sourceRange(rows)];
        expect(x.first).toBeGreaterThanOrEqual(across.boxStart);
        expect(x.end).toBeLessThanOrEqual(across.boxStart + across.boxSize);
        const width = x.end - x.first;
        const part = new Uint8Array(3 * width * (y.end - y.first));
        for (let row = y.first; row < y.end; row++) {
          const from = 3 * (row * WIDTH + x.first);
          part.set(source.subarray(from, from + 3 * width), 3 * width * (row - y.first));
        }
        const out = new Uint8Array(across.count * down.count * 3);
        resample(part, { left: x.first, top: y.first, width }, columns, rows, out);
        expect(out).toEqual(resized(source, across, down));
      }),
    );
  });
});
