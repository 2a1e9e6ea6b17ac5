// Owns: a net as one safetensors file that torchvision's models load with strict=True.
// Refuses to know: checkpoints and where the file goes.
import { renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { MODEL_METADATA } from '../checkpoint.js';
import { syncFolder } from '../durable-files.js';
import { modelTensors } from '../model-tensors.js';
import { layoutOf } from '../parameters.js';
import { writeSafetensors } from '../safetensors.js';
import type { StoredModel } from './stored-model.js';

/**
 * Writes the file, complete or not at all: filters OIHW, the dense layer [out, in], counters of batches beside running
 * averages. The metadata says 'pt' as Hugging Face's readers ask for, and carries the net's spec for an import here.
 *
 * @returns its size and SHA-256
 */
export function exportSafetensors(stored: StoredModel, file: string): { bytes: number; sha256: string } {
  const { model, parameters, statistics, manifest } = stored;
  const layout = layoutOf(model);
  const step = manifest?.step ?? 0;
  const counters = layout.statistics
    .filter(({ role }) => role === 'mean')
    .map(({ name }) => ({ name: name.replace(/running_mean$/, 'num_batches_tracked'), count: step }));
  const sources = [...modelTensors(layout, parameters, statistics), ...counters];
  const metadata = { format: 'pt', [MODEL_METADATA]: JSON.stringify(model), 'lockstep.step': String(step) };
  const temporary = path.join(path.dirname(file), `.writing-${path.basename(file)}-${process.pid}`);
  try {
    const written = writeSafetensors(temporary, sources, metadata);
    renameSync(temporary, file);
    syncFolder(path.dirname(file));
    return written;
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
