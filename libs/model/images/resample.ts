// Owns: antialiased bilinear resizing of 8-bit RGB images, only for the window of the result that is wanted.
// Refuses to know: files, colours' meaning and where windows come from. Integer arithmetic: the same bytes on every machine.
import { imageMemory } from './image-memory.js';
import { BYTES_DOWN, LOW_BITS, TAPS_ACROSS, TAPS_DOWN, WEIGHT_BITS, WEIGHT_BYTES } from './resample-kernels.js';

/** Along one axis: what is scaled, and which part of the result is wanted, in pixels. */
export interface AxisWindow {
  /** Where the box that is scaled begins in the source; need not be whole. No pixel that lies wholly outside it is read. */
  readonly boxStart: number;
  readonly boxSize: number;
  /** Size that the box is scaled to. */
  readonly scaledSize: number;
  /** First wanted pixel of those that the box is scaled to, and how many from there. */
  readonly first: number;
  readonly count: number;
}

/** What each wanted pixel is made of: `taps[i]` source pixels from `starts[i]` on, by the weights from `i * stride` on. */
export interface AxisWeights {
  readonly starts: Int32Array;
  readonly taps: Int32Array;
  /** Fixed point with `WEIGHT_BITS` bits. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/**
 * A triangle over the source pixels, as wide as the scale where the image shrinks and two pixels wide where it grows: what
 * Pillow and torchvision call antialiased bilinear, down to the rounding of the weights.
 */
export function axisWeights({ boxStart, boxSize, scaledSize, first, count }: AxisWindow): AxisWeights {
  const scale = boxSize / scaledSize;
  const least = Math.floor(boxStart);
  const most = Math.ceil(boxStart + boxSize);
  const reach = Math.max(1, scale);
  const stride = 2 * Math.ceil(reach) + 1;
  const starts = new Int32Array(count);
  const taps = new Int32Array(count);
  const weights = new Int32Array(count * stride);
  const exact = new Float64Array(stride);
  for (let index = 0; index < count; index++) {
    const center = boxStart + (first + index + 0.5) * scale;
    const start = Math.max(least, Math.trunc(center - reach + 0.5));
    const end = Math.min(most, Math.trunc(center + reach + 0.5));
    let sum = 0;
    for (let pixel = start; pixel < end; pixel++) {
      const weight = Math.max(0, 1 - Math.abs((pixel - center + 0.5) / reach));
      exact[pixel - start] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < end - start; tap++) {
      weights[index * stride + tap] = Math.floor((exact[tap]! / sum) * (1 << WEIGHT_BITS) + 0.5);
    }
    starts[index] = start;
    taps[index] = end - start;
  }
  return { starts, taps, weights, stride };
}

/** Source pixels [first, end) that the weights read. */
export function sourceRange({ starts, taps }: AxisWeights): { readonly first: number; readonly end: number } {
  const last = starts.length - 1;
  return { first: starts[0]!, end: starts[last]! + taps[last]! };
}

/** Bytes of the source that are brought to the kernels at once: they stay in the processor's cache. */
const STRIP_BYTES = 256 * 1024;

/**
 * Resizes along both axes, first across, then down, rounding to bytes in between.
 *
 * @param source RGB, pixel by pixel: the part of the image from (`left`, `top`) on, `width` pixels wide
 * @param out gets rows x columns x 3 bytes
 */
export function resample(
  source: Uint8Array,
  { left, top, width }: { readonly left: number; readonly top: number; readonly width: number },
  columns: AxisWeights,
  rows: AxisWeights,
  out: Uint8Array,
): void {
  const { first, end } = sourceRange(rows);
  const sourceBytes = 3 * width;
  const rowBytes = 3 * columns.starts.length;
  const outBytes = rows.starts.length * rowBytes;
  const rowsAtOnce = Math.max(1, Math.floor(STRIP_BYTES / sourceBytes));
  imageMemory.within(() => {
    const strip = imageMemory.take(rowsAtOnce * sourceBytes);
    const offsets = imageMemory.take(columns.starts.byteLength);
    const across = takeWeights(columns, TAPS_ACROSS);
    const down = takeWeights(rows, TAPS_DOWN);
    // Kernels write beyond the end of a row, and read rows whose weights are 0.
    const stride = roundedUp(rowBytes + 1, BYTES_DOWN);
    const between = imageMemory.take((end - first + TAPS_DOWN) * stride);
    const pixels = imageMemory.take(outBytes + BYTES_DOWN);
    const { bytes, kernels } = imageMemory;
    imageMemory.longs(offsets, columns.starts.length).set(columns.starts.map((start) => 3 * (start - left)));
    for (let row = first; row < end; row += rowsAtOnce) {
      const stripEnd = Math.min(end, row + rowsAtOnce);
      bytes.set(source.subarray((row - top) * sourceBytes, (stripEnd - top) * sourceBytes), strip);
      for (let each = row; each < stripEnd; each++) {
        const to = between + (each - first) * stride;
        const from = strip + (each - row) * sourceBytes;
        kernels.across(from, to, to + rowBytes, offsets, across.at, across.bytesPerPixel);
      }
    }
    for (let row = 0; row < rows.starts.length; row++) {
      const from = between + (rows.starts[row]! - first) * stride;
      const to = pixels + row * rowBytes;
      const weights = down.at + row * down.bytesPerPixel;
      const weightsEnd = weights + WEIGHT_BYTES * roundedUp(rows.taps[row]!, TAPS_DOWN);
      kernels.down(from, to, to + rowBytes, stride, weights, weightsEnd);
    }
    out.set(bytes.subarray(pixels, pixels + outBytes));
  });
}

/** Puts weights into the memory as kernels want them: in pairs of taps, both upper parts, then both lower ones. */
function takeWeights(
  { starts, taps, weights, stride }: AxisWeights,
  tapsAtOnce: number,
): { readonly at: number; readonly bytesPerPixel: number } {
  const mostTaps = taps.reduce((most, each) => Math.max(most, each), 0);
  const bytesPerPixel = WEIGHT_BYTES * roundedUp(mostTaps, tapsAtOnce);
  const at = imageMemory.take(starts.length * bytesPerPixel);
  const words = imageMemory.words(at, (starts.length * bytesPerPixel) / 2).fill(0);
  for (let index = 0; index < starts.length; index++) {
    for (let tap = 0; tap < taps[index]!; tap++) {
      const weight = weights[index * stride + tap]!;
      const word = (index * bytesPerPixel) / 2 + 4 * (tap >> 1) + (tap & 1);
      words[word] = weight >> LOW_BITS;
      words[word + 2] = weight & ((1 << LOW_BITS) - 1);
    }
  }
  return { at, bytesPerPixel };
}

function roundedUp(count: number, unit: number): number {
  return Math.ceil(count / unit) * unit;
}
