// Owns: turning RGB bytes into the normalised numbers that a network sees, mirrored and recoloured on the way.
// Refuses to know: which pixels these are.
import { imageMemory } from './image-memory.js';

/** Of what is made: three float32. */
const PIXEL_BYTES = 12;

/**
 * @param pixels RGB, pixel by pixel, in rows of `width`
 * @param flip whether rows are mirrored
 * @param table from `normalisationTable`
 * @param out gets as many numbers as there are bytes
 */
export function normaliseInto(
  pixels: Uint8Array,
  width: number,
  flip: boolean,
  table: Float32Array,
  out: Float32Array,
): void {
  imageMemory.within(() => {
    const from = imageMemory.take(pixels.length);
    const tableAt = imageMemory.take(table.byteLength);
    const to = imageMemory.take(4 * pixels.length);
    imageMemory.bytes.set(pixels, from);
    imageMemory.floats(tableAt, table.length).set(table);
    const { normalise } = imageMemory.kernels;
    const end = from + pixels.length;
    if (flip) {
      for (let row = from; row < end; row += 3 * width) {
        const last = row + 3 * (width - 1);
        normalise(row, row + 3 * width, tableAt, to + 4 * (last - from), -PIXEL_BYTES);
      }
    } else normalise(from, end, tableAt, to, PIXEL_BYTES);
    out.set(imageMemory.floats(to, pixels.length));
  });
}
