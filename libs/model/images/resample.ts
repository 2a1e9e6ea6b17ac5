// Owns: antialiased bilinear resizing of 8-bit RGB images, only for the window of the result that is wanted.
// Refuses to know: files, colours' meaning and where windows come from. Integer arithmetic: the same bytes on every machine.

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

/** 255 times weights that add up to 2^22 stays below 2^31. */
const WEIGHT_BITS = 22;
const HALF = 1 << (WEIGHT_BITS - 1);

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

/** Memory that resizing uses again and again; as long as what was asked of it most. */
export class ResampleScratch {
  #rows = new Uint8Array(0);

  rows(bytes: number): Uint8Array {
    if (this.#rows.length < bytes) this.#rows = new Uint8Array(bytes);
    return this.#rows;
  }
}

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
  scratch: ResampleScratch,
): void {
  const { first, end } = sourceRange(rows);
  const rowBytes = 3 * columns.starts.length;
  const across = scratch.rows((end - first) * rowBytes);
  for (let row = first; row < end; row++) {
    resampleRow(source, 3 * ((row - top) * width - left), columns, across, (row - first) * rowBytes);
  }
  for (let row = 0; row < rows.starts.length; row++) {
    mixRows(across, (rows.starts[row]! - first) * rowBytes, rowBytes, rows, row, out, row * rowBytes);
  }
}

/** One row across. `at` is where the image's column 0 would lie in `source`. */
function resampleRow(source: Uint8Array, at: number, columns: AxisWeights, out: Uint8Array, outAt: number): void {
  const { starts, taps, weights, stride } = columns;
  let target = outAt;
  for (let column = 0; column < starts.length; column++) {
    let red = HALF;
    let green = HALF;
    let blue = HALF;
    let pixel = at + 3 * starts[column]!;
    const firstWeight = column * stride;
    const endWeight = firstWeight + taps[column]!;
    for (let tap = firstWeight; tap < endWeight; tap++) {
      const weight = weights[tap]!;
      red = (red + Math.imul(source[pixel]!, weight)) | 0;
      green = (green + Math.imul(source[pixel + 1]!, weight)) | 0;
      blue = (blue + Math.imul(source[pixel + 2]!, weight)) | 0;
      pixel += 3;
    }
    out[target] = red >> WEIGHT_BITS;
    out[target + 1] = green >> WEIGHT_BITS;
    out[target + 2] = blue >> WEIGHT_BITS;
    target += 3;
  }
}

/** One row of the result out of several rows of bytes, of which the first begins at `at`. */
function mixRows(
  source: Uint8Array,
  at: number,
  rowBytes: number,
  rows: AxisWeights,
  row: number,
  out: Uint8Array,
  outAt: number,
): void {
  const taps = rows.taps[row]!;
  const firstWeight = row * rows.stride;
  const weights = rows.weights;
  for (let byte = 0; byte < rowBytes; byte++) {
    let sum = HALF;
    let from = at + byte;
    for (let tap = 0; tap < taps; tap++) {
      sum = (sum + Math.imul(source[from]!, weights[firstWeight + tap]!)) | 0;
      from += rowBytes;
    }
    out[outAt + byte] = sum >> WEIGHT_BITS;
  }
}
