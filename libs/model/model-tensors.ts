// Owns: the way between flat vectors and named tensors in torchvision's names and layouts (filters OIHW, dense [out, in]).
// Refuses to know: files. Conversions only move numbers, so they lose nothing.
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { float32Of, SafetensorsError, type StoredTensor, type TensorSource } from './safetensors.js';

/** Parameters and running statistics as torchvision's state_dict has them (but for num_batches_tracked). */
export function modelTensors(
  layout: ParameterLayout,
  parameters: Float32Array,
  statistics: Float32Array,
): TensorSource[] {
  return [...tensorsOf(layout.parameters, parameters), ...tensorsOf(layout.statistics, statistics)];
}

/** Momentum buffers, under their parameters' names. */
export function momentumTensors(layout: ParameterLayout, momentum: Float32Array): TensorSource[] {
  return tensorsOf(layout.parameters, momentum);
}

/**
 * Fills the flat vectors from named tensors; `num_batches_tracked` is passed over.
 *
 * @param source where the tensors come from, for messages
 * @param nameOf the name that the source has for a tensor of torchvision's
 * @throws SafetensorsError naming what is missing, unknown or of another shape
 */
export function loadModelTensors(
  layout: ParameterLayout,
  tensors: ReadonlyMap<string, StoredTensor>,
  parameters: Float32Array,
  statistics: Float32Array,
  source: string,
  nameOf: NameOf = asItIs,
): void {
  checkNames([...layout.parameters, ...layout.statistics], tensors, source, nameOf);
  loadTensors(layout.parameters, tensors, parameters, source, nameOf);
  loadTensors(layout.statistics, tensors, statistics, source, nameOf);
}

/** Fills the flat momentum from named tensors. */
export function loadMomentumTensors(
  layout: ParameterLayout,
  tensors: ReadonlyMap<string, StoredTensor>,
  momentum: Float32Array,
  source: string,
): void {
  checkNames(layout.parameters, tensors, source, asItIs);
  loadTensors(layout.parameters, tensors, momentum, source, asItIs);
}

type NameOf = (name: string) => string;
const asItIs: NameOf = (name) => name;

function tensorsOf(entries: readonly TensorEntry[], flat: Float32Array): TensorSource[] {
  return entries.map((entry) => ({
    name: entry.name,
    shape: storedShape(entry),
    values: () => {
      const values = flat.subarray(entry.offset, entry.offset + entry.size);
      const axes = axesOf(entry);
      if (!axes) return values;
      const stored = new Float32Array(entry.size);
      reverseAxes(values, stored, ...axes);
      return stored;
    },
  }));
}

function loadTensors(
  entries: readonly TensorEntry[],
  tensors: ReadonlyMap<string, StoredTensor>,
  flat: Float32Array,
  source: string,
  nameOf: NameOf,
): void {
  for (const entry of entries) {
    const name = nameOf(entry.name);
    const tensor = tensors.get(name)!;
    const expected = storedShape(entry);
    if (tensor.shape.length !== expected.length || tensor.shape.some((side, index) => side !== expected[index])) {
      const found = `[${tensor.shape.join(', ')}]`;
      throw new SafetensorsError(`${source}: ${name} has shape ${found}, the network needs [${expected.join(', ')}]`);
    }
    const stored = float32Of(tensor);
    const values = flat.subarray(entry.offset, entry.offset + entry.size);
    const axes = axesOf(entry);
    if (!axes) values.set(stored);
    else reverseAxes(stored, values, axes[2], axes[1], axes[0]);
  }
}

/** HWIO to OIHW, [in, out] to [out, in], all else as it is. */
function storedShape(entry: TensorEntry): readonly number[] {
  const [first, second, third, fourth] = entry.shape;
  if (entry.role === 'filter') return [fourth!, third!, first!, second!];
  if (entry.role === 'dense') return [second!, first!];
  return entry.shape;
}

/**
 * The axes that storing reverses: a filter's [H * W, I, O] becomes [O, I, H * W], the dense layer's [in, 1, out] becomes
 * [out, 1, in]; nothing to do for vectors.
 */
function axesOf(entry: TensorEntry): readonly [number, number, number] | undefined {
  const [first, second, third, fourth] = entry.shape;
  if (entry.role === 'filter') return [first! * second!, third!, fourth!];
  if (entry.role === 'dense') return [first!, 1, second!];
  return undefined;
}

/** Edge of the tiles in which axes are reversed: rows read and rows written then both stay in the cache. */
const TILE = 32;

/** to[z, y, x] = from[x, y, z]. */
function reverseAxes(from: Float32Array, to: Float32Array, xs: number, ys: number, zs: number): void {
  for (let firstY = 0; firstY < ys; firstY += TILE) {
    const endY = Math.min(firstY + TILE, ys);
    for (let firstZ = 0; firstZ < zs; firstZ += TILE) {
      const endZ = Math.min(firstZ + TILE, zs);
      for (let y = firstY; y < endY; y++) {
        for (let z = firstZ; z < endZ; z++) {
          const target = (z * ys + y) * xs;
          for (let x = 0; x < xs; x++) to[target + x] = from[(x * ys + y) * zs + z]!;
        }
      }
    }
  }
}

function checkNames(
  entries: readonly TensorEntry[],
  tensors: ReadonlyMap<string, StoredTensor>,
  source: string,
  nameOf: NameOf,
): void {
  const known = new Map(entries.map((entry) => [nameOf(entry.name), storedShape(entry)]));
  const missing = [...known].filter(([name]) => !tensors.has(name));
  if (missing.length > 0)
    throw new SafetensorsError(`${source} lacks ${listed(missing)}: it belongs to another network`);
  const unknown = [...tensors].filter(([name]) => !known.has(name) && !name.endsWith('.num_batches_tracked'));
  if (unknown.length > 0) {
    const shapes = unknown.map(([name, { shape }]) => [name, shape] as const);
    throw new SafetensorsError(`${source} has ${listed(shapes)}, which the network does not have`);
  }
}

/** The first few with their shapes, and how many more. */
function listed(tensors: readonly (readonly [name: string, shape: readonly number[]])[]): string {
  const first = tensors.slice(0, 3).map(([name, shape]) => `${name} [${shape.join(', ')}]`);
  return tensors.length <= 3 ? first.join(', ') : `${first.join(', ')} and ${tensors.length - 3} more`;
}
