import sharp from 'sharp';
import { expect, it } from 'vitest';
import { imageLibrary } from './image-library.js';

it('names the library that is loaded', () => {
  expect(imageLibrary()).toBe(`sharp ${sharp.versions.sharp} libvips ${sharp.versions.vips}`);
});
