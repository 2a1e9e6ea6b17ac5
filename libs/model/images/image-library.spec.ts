import sharp from 'sharp';
import { expect, it } from 'vitest';
import { imageLibrary } from './image-library.js';

it('names the library that is loaded, and how it is used', () => {
  expect(imageLibrary()).toBe(`sharp ${sharp.versions.sharp} libvips ${sharp.versions.vips} use 2`);
});
