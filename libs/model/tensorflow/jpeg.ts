// Owns: decoding JPEGs by TensorFlow's kernel, which is libjpeg-turbo: the pixels that sharp and Pillow give, in a third of sharp's time.
// Refuses to know: which files it is good for, and what else can be done with those that it refuses.
import type { Attribute } from './addon.js';
import { attributesFor, flag, float, int, runSingle, text } from './kernel.js';
import { bitcast, cast, reshape } from './kernels.js';
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
 * Whole rows, as libjpeg gives other pixels at the sides of a narrower part.
 *
 * @throws KernelError where the file is damaged or none that libjpeg-turbo decodes
 */
export function decodeJpegRows(bytes: Uint8Array, width: number, top: number, rows: number): Uint8Array {
  const file = Tensor.ofBytes(bytes);
  const window = Tensor.of(Int32Array.of(top, 0, rows, width), [4]);
  try {
    return bytesOf(runSingle('DecodeAndCropJpeg', attributes(), [file, window]));
  } finally {
    file.dispose();
    window.dispose();
  }
}

/** The numbers of a uint8 tensor, which it disposes. The addon reads none: four of them are read as an int32, where that comes out even. */
function bytesOf(tensor: Tensor): Uint8Array {
  const { size } = tensor;
  const steps = [tensor];
  try {
    if (size % 4 !== 0) {
      steps.push(cast(tensor, 'int32'));
      return Uint8Array.from(steps.at(-1)!.readInt32());
    }
    steps.push(reshape(tensor, [size / 4, 4]));
    steps.push(bitcast(steps.at(-1)!, 'int32'));
    const { buffer, byteOffset } = steps.at(-1)!.readInt32();
    return new Uint8Array(buffer, byteOffset, size);
  } finally {
    for (const step of steps) step.dispose();
  }
}
