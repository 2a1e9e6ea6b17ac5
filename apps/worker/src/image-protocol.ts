// What the main thread and the image threads tell each other. Numbers are written to shared memory, only files are copied.
// Refuses to know who wants the images.
import type { ImageRecipe } from '#model/images/prepare-image.js';

/** What an image thread is started with. */
export interface ImageThreadOptions {
  /** TensorFlow's kernel decodes plain JPEGs. The process has set what TensorFlow reads from its environment. */
  readonly jpegKernel: boolean;
}

export interface ToImages {
  readonly id: number;
  /** The encoded image. */
  readonly bytes: Uint8Array;
  readonly recipe: ImageRecipe;
  /** In shared memory. */
  readonly out: Float32Array;
}

export interface FromImages {
  readonly id: number;
  /** From taking the image up to its last number. */
  readonly seconds: number;
  /** What is wrong with the image; absent when it is prepared. */
  readonly problem?: string;
}
