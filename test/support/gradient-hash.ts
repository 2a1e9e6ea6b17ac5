// Owns: a small program that prints the hash of a net's gradient: run twice, at once or one after the other, it must print the same.
// Usage: gradient-hash ARCHITECTURE PRECISION

import { createHash } from 'node:crypto';
import type { Precision } from '#model/network.js';
import { loadedNetwork, modelOf, pass, randomBatch } from './networks.js';

/** SHA-256 of gradient and batch statistics of one fixed pass. */
export function gradientHash(architecture: string, precision: Precision): string {
  const model = modelOf(architecture, { shortcut: 'A' });
  const network = loadedNetwork(model, precision);
  const { images, labels } = randomBatch(8, model.imageSize, model.classes);
  const { gradient, statistics } = pass(network, images, labels, 1 / 8);
  network.dispose();
  return createHash('sha256')
    .update(new Uint8Array(gradient.buffer))
    .update(new Uint8Array(statistics.buffer))
    .digest('hex');
}

const [architecture, precision] = process.argv.slice(2);
if (architecture !== undefined && (precision === 'float32' || precision === 'bfloat16')) {
  console.log(gradientHash(architecture, precision));
}
