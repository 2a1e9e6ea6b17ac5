// Owns: a net as a SavedModel folder: one file with the graph and all weights in it, so that nothing can go astray.
// Refuses to know: the graph (frozen-graph.ts).
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { syncFolder, writeFileDurably } from '../durable-files.js';
import { frozenGraph } from './frozen-graph.js';
import type { StoredModel } from './stored-model.js';

/** What the format can hold: a message has at most 2 GiB. */
const MOST_BYTES = 2 ** 31 - 1;

/**
 * Writes the folder, complete or not at all. Signature 'serving_default' under the tag 'serve': `images` float32 [n, side, side, 3],
 * RGB and normalised as for training, to `logits` and `probabilities` float32 [n, classes].
 *
 * @returns the size of its file
 * @throws RangeError where the net is too large for the format
 */
export function exportSavedModel({ model, parameters, statistics }: StoredModel, folder: string): { bytes: number } {
  const message = frozenGraph(model, { parameters, statistics });
  if (message.bytes > MOST_BYTES) {
    throw new RangeError(`A SavedModel of ${message.bytes} bytes is more than the format holds (${MOST_BYTES})`);
  }
  const parent = path.dirname(folder);
  const temporary = path.join(parent, `.writing-${path.basename(folder)}-${process.pid}`);
  try {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary);
    // Runtimes look for the folder of variables, though constants leave it empty.
    mkdirSync(path.join(temporary, 'variables'));
    writeFileDurably(path.join(temporary, 'saved_model.pb'), (write) => message.pieces.forEach(write));
    syncFolder(temporary);
    renameSync(temporary, folder);
    syncFolder(parent);
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
  return { bytes: message.bytes };
}
