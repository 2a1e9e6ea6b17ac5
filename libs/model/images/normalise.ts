// Owns: turning RGB bytes into the normalised numbers that a network sees, mirrored and recoloured on the way.
// Refuses to know: which pixels these are.

const LEVELS = 256;

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
  const rowLength = 3 * width;
  const step = flip ? -3 : 3;
  for (let row = 0; row < pixels.length; row += rowLength) {
    let target = flip ? row + rowLength - 3 : row;
    for (let pixel = row; pixel < row + rowLength; pixel += 3) {
      out[target] = table[pixels[pixel]!]!;
      out[target + 1] = table[LEVELS + pixels[pixel + 1]!]!;
      out[target + 2] = table[2 * LEVELS + pixels[pixel + 2]!]!;
      target += step;
    }
  }
}
