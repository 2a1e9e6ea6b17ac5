// Owns: decoding JPEGs by TensorFlow's kernel, which is libjpeg-turbo: the pixels that sharp and Pillow give, without sharp's handing over
// from thread to thread.
// Refuses to know: which files it is good for, and what else can be done with those that it refuses.
import { addon, type Attribute } from './addon.js';
import { attributesFor, flag, float, int, KernelError, ofType, runSingle, text } from './kernel.js';
import { Tensor } from './tensor.js';

/** libjpeg's defaults: the accurate inverse transform and smooth chroma; nothing of a truncated file. */
const attributes = (): readonly Attribute[] =>
  attributesFor('jpeg', () => [
    int('channels', 3),
    int('ratio', 1),
    flag('fancy_upscaling', true),
    flag('try_recover_truncated', false),
    float('acceptable_fraction', 1),
    text('dct_method', 'INTEGER_ACCURATE'),
  ]);

/**
 * Rows [top, top + rows) of a JPEG that is `width` pixels wide: RGB, 8 bits each, row by row; a turn that EXIF asks for is not made.
 * Whole rows, as libjpeg gives other pixels at the sides of a narrower part. Undefined for what libjpeg-turbo refuses: damaged below these
 * rows or before, or no JPEG for it. On processors only.
 */
export function decodeJpegRows(bytes: Uint8Array, width: number, top: number, rows: number): Uint8Array | undefined {
  const inputs: Tensor[] = [];
  try {
    inputs.push(Tensor.ofBytes(bytes), Tensor.of(Int32Array.of(top, 0, rows, width), [4]));
    const decoded = runSingle('DecodeAndCropJpeg', attributes(), inputs);
    inputs.push(decoded);
    const pixels = new Uint8Array(decoded.size);
    addon().readInto(decoded.id, ofType('uint8'), pixels);
    return pixels;
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  } finally {
    for (const tensor of inputs) tensor.dispose();
  }
}
