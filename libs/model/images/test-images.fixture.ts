// Pictures made by specs: smooth enough for JPEG, another at every place.
import sharp, { type Sharp } from 'sharp';

/** RGB bytes of a picture that differs by `seed`; red grows to the right, green downwards. */
export function pictureBytes(width: number, height: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 3 * (y * width + x);
      bytes[at] = (255 * x) / width;
      bytes[at + 1] = (255 * y) / height;
      bytes[at + 2] = 128 + 100 * Math.sin((x * (seed + 1)) / 37 + y / 23);
    }
  }
  return bytes;
}

/** The picture, ready to be written in some format. */
export function picture(width: number, height: number, seed = 0): Sharp {
  return sharp(pictureBytes(width, height, seed), { raw: { width, height, channels: 3 } });
}
