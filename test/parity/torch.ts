// Owns: asking the Python that LOCKSTEP_PARITY_PYTHON names for torch's results, and files that both sides read.
// Refuses to know: what is compared.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { readSafetensors, writeSafetensors } from '#model/safetensors.js';
import type { SafetensorsFile, TensorSource } from '#model/safetensors.js';

const script = fileURLToPath(new URL('./torch_reference.py', import.meta.url));

/** Runs one command of torch_reference.py; an error carries what Python said. */
export async function torch(...args: string[]): Promise<void> {
  const python = process.env['LOCKSTEP_PARITY_PYTHON'];
  if (python === undefined) throw new Error('Set LOCKSTEP_PARITY_PYTHON to a Python that has torch and torchvision.');
  await promisify(execFile)(python, [script, ...args], { maxBuffer: 1 << 24 });
}

/** A folder that is gone after the test. */
export function scratchFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'lockstep-parity-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Images [n, side, side, 3] and labels, as float32 tensors in a file. */
export function writeBatch(file: string, images: Float32Array, labels: Int32Array): void {
  const side = Math.sqrt(images.length / (3 * labels.length));
  const tensors: TensorSource[] = [
    { name: 'images', shape: [labels.length, side, side, 3], values: () => images },
    { name: 'labels', shape: [labels.length], values: () => Float32Array.from(labels) },
  ];
  writeSafetensors(file, tensors, {});
}

/** The numbers of a tensor in float64, whatever float type the file has. */
export function float64Of(file: SafetensorsFile, name: string): Float64Array {
  const tensor = file.tensors.get(name);
  if (tensor === undefined) throw new Error(`torch gave no ${name}`);
  const copy = new Uint8Array(tensor.bytes).buffer;
  return tensor.dtype === 'F64' ? new Float64Array(copy) : Float64Array.from(new Float32Array(copy));
}

export { readSafetensors };
