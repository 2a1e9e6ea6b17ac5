// Owns: a net's parameters and running statistics on the device, by name; each goes there when a layer first asks for it, so that a
// pass can begin before the last has arrived. Refuses to know: layers and gradients; where the vectors come from.

import type { ParameterSource } from './layers/sink.js';
import type { Precision } from './network.js';
import { type ParameterVectors, staysFloat32 } from './parameter-forms.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { bitcast, cast, reshape } from './tensorflow/kernels.js';
import { Tensor } from './tensorflow/tensor.js';
import { widenBfloat16 } from './float-arrays.js';

/** Bytes that a tensor's place is rounded up to: from there TensorFlow shares memory instead of copying. */
const ALIGNMENT_BYTES = 64;

/** Own copies, so that whoever lent a version may change his vectors once a layer has asked for what is in them. */
interface Place {
  readonly values: Float32Array;
  /** The same memory. */
  readonly bits: Uint16Array;
  /** Whether kernels take it in bfloat16. */
  readonly rounded: boolean;
  readonly region: 'parameters' | 'statistics';
  /** First element in the vector of what is exact. */
  readonly exactAt: number;
}

export class DeviceParameters implements ParameterSource {
  readonly #entries = new Map<string, TensorEntry>();
  readonly #places = new Map<TensorEntry, Place>();
  readonly #tensors = new Map<TensorEntry, Tensor>();
  #vectors: ParameterVectors | undefined;

  constructor(
    private readonly layout: ParameterLayout,
    precision: Precision,
  ) {
    let exactAt = 0;
    const sized: { entry: TensorEntry; at: number; place: Omit<Place, 'values' | 'bits'> }[] = [];
    let bytes = 0;
    for (const region of ['parameters', 'statistics'] as const) {
      for (const entry of layout[region]) {
        this.#entries.set(entry.name, entry);
        const rounded = precision === 'bfloat16' && region === 'parameters' && !staysFloat32(layout, entry);
        sized.push({ entry, at: bytes, place: { rounded, region, exactAt } });
        if (region === 'parameters' && !rounded) exactAt += entry.size;
        bytes += Math.ceil((entry.size * (rounded ? 2 : 4)) / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
      }
    }
    const buffer = new ArrayBuffer(bytes);
    for (const { entry, at, place } of sized) {
      const values = new Float32Array(buffer, at, place.rounded ? 0 : entry.size);
      this.#places.set(entry, { ...place, values, bits: new Uint16Array(buffer, at, place.rounded ? entry.size : 0) });
    }
  }

  entry(name: string): TensorEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new RangeError(`the layout has no tensor '${name}'`);
    return entry;
  }

  /** Waits for it where it has not arrived. */
  tensor(entry: TensorEntry): Tensor {
    const known = this.#tensors.get(entry);
    // What was made in a pass that failed went with it.
    if (known !== undefined && !known.disposed) return known;
    const tensor = this.#upload(entry, this.#places.get(entry)!);
    this.#tensors.set(entry, tensor);
    return tensor;
  }

  /** Copies both vectors; replaces what was loaded before. @throws RangeError on lengths other than the layout's. */
  load(parameters: Float32Array, statistics: Float32Array): void {
    this.dispose();
    this.lend({ parameters, exact: new Float32Array(0), statistics, wait: () => undefined });
    for (const entry of this.#entries.values()) this.tensor(entry);
    this.#vectors = undefined;
  }

  /**
   * From now on what is not on the device is taken from these, when a layer asks for it. What is there already stays: for
   * another version, `dispose` first. @throws RangeError on lengths other than the layout's.
   */
  lend(vectors: ParameterVectors): void {
    const { parameterCount, statisticCount } = this.layout;
    const { parameters, statistics } = vectors;
    if (parameters.length !== parameterCount || statistics.length !== statisticCount) {
      throw new RangeError(
        `the net has ${parameterCount} parameters and ${statisticCount} statistics, ` +
          `not ${parameters.length} and ${statistics.length}`,
      );
    }
    this.#vectors = vectors;
  }

  dispose(): void {
    for (const tensor of this.#tensors.values()) if (!tensor.disposed) tensor.dispose();
    this.#tensors.clear();
  }

  #upload(entry: TensorEntry, { values, bits, rounded, region, exactAt }: Place): Tensor {
    if (this.#vectors === undefined) throw new Error(`${entry.name} was asked for before any parameters were loaded`);
    const { parameters, exact, statistics, wait } = this.#vectors;
    const end = entry.offset + entry.size;
    wait(region === 'parameters' ? end : 0);
    if (region === 'statistics' || (parameters instanceof Float32Array && !rounded)) {
      const vector = region === 'statistics' ? statistics : (parameters as Float32Array);
      values.set(vector.subarray(entry.offset, end));
      return Tensor.of(values, entry.shape);
    }
    if (!rounded) {
      values.set(exact.subarray(exactAt, exactAt + entry.size));
      return Tensor.of(values, entry.shape);
    }
    if (parameters instanceof Float32Array) return roundedTensor(parameters.subarray(entry.offset, end), entry.shape);
    bits.set(parameters.subarray(entry.offset, end));
    return tensorOfBits(bits, entry.shape);
  }
}

function roundedTensor(values: Float32Array, shape: readonly number[]): Tensor {
  const exact = Tensor.of(values, shape);
  const tensor = cast(exact, 'bfloat16');
  exact.dispose();
  return tensor;
}

/** Pairs of bits go to the device as int32, which the addon knows, and are taken there for what they are. */
function tensorOfBits(bits: Uint16Array, shape: readonly number[]): Tensor {
  if (bits.length % 2 !== 0) {
    const wide = new Float32Array(bits.length);
    widenBfloat16(bits, wide);
    return roundedTensor(wide, shape);
  }
  const words = Tensor.of(new Int32Array(bits.buffer, bits.byteOffset, bits.length / 2), [bits.length / 2]);
  const pairs = bitcast(words, 'bfloat16');
  const tensor = reshape(pairs, shape);
  words.dispose();
  pairs.dispose();
  return tensor;
}
