// Owns: what a dataset of image files needs from whoever runs it: somebody that prepares images, and memory for files.
// Refuses to know: which threads do it, and datasets.
import { ByteCache } from './byte-cache.js';
import type { ImageRecipe } from './prepare-image.js';

export interface ImageServices {
  /** Images that may be read and prepared at once. */
  readonly atOnce: number;
  /** As `prepare` (prepare.ts). `out` may lie in shared memory. Rejects with an error whose message goes on from the file's name. */
  prepare(bytes: Uint8Array, recipe: ImageRecipe, out: Float32Array): Promise<void>;
  /** Files read before. */
  readonly cache: ByteCache;
}

/** Prepares images on the thread that asks; decoding goes on in the background of it. sharp is loaded with the first image. */
export function imagesOnThisThread(): ImageServices {
  return {
    atOnce: 4,
    prepare: async (...image) => (await import('./prepare.js')).prepare(...image),
    cache: new ByteCache(0),
  };
}
