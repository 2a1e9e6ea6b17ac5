// Owns: which image library decodes here, by version, and how it is used: equal names mean equal pixels.
// Refuses to know: images. Does not load the library, which takes a while and memory.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import process from 'node:process';

/** Goes up with any change of the pixels that Lockstep has the same library make of the same file. Since 2 large JPEGs are shrunk. */
const USE = 2;

/** Such as 'sharp 0.35.5 libvips 8.18.7 use 2'. */
export function imageLibrary(): string {
  const require = createRequire(import.meta.url);
  const manifest = path.join(path.dirname(require.resolve('sharp')), '..', 'package.json');
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
  return `sharp ${version} libvips ${libvipsVersion(require)} use ${USE}`;
}

function libvipsVersion(require: NodeJS.Require): string {
  try {
    const { vips } = require(`@img/sharp-libvips-linux-${process.arch}/versions`) as { vips: string };
    return vips;
  } catch {
    // The one that the system has, which sharp was built against.
    return 'of the system';
  }
}
