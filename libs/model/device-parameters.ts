// Owns: a net's parameters and running statistics on the device, by name; each goes there when a layer first asks for it, so that a
// pass can begin before the last has arrived. Refuses to know: layers and gradients; where the vectors come from.

import type { ParameterSource } from './layers/sink.js';
import type { Precision } from './network.js';
import { type ParameterVectors, staysFloat32 } from './parameter-forms.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { bitcast, cast, reshape } from './tensorflow/kernels.js';
import { Tensor } from './tensorflow/tensor.js';
import { widenBfloat16 } from './float-arrays.js';

/** In which form an entry goes to the device, and from where. */
interface Form {
  readonly region: 'parameters' | 'statistics';
  /** Whether kernels take it in bfloat16. */
  readonly rounded: boolean;
  /** First element in the vector of what is exact. */
  readonly exactAt: number;
}

export class DeviceParameters implements ParameterSource {
  readonly #entries = new Map<string, TensorEntry>();
  readonly #forms = new Map<TensorEntry, Form>();
  readonly #tensors = new Map<TensorEntry, Tensor>();
  #vectors: ParameterVectors | undefined;

  constructor(
    private readonly layout: ParameterLayout,
    precision: Precision,
  ) {
    let exactAt = 0;
    for (const region of ['parameters', 'statistics'] as const) {
      for (const entry of layout[region]) {
        this.#entries.set(entry.name, entry);
        const rounded = precision === 'bfloat16' && region === 'parameters' && !staysFloat32(layout, entry);
        this.#forms.set(entry, { region, rounded, exactAt });
        if (region === 'parameters' && !rounded) exactAt += entry.size;
      }
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
    const tensor = this.#upload(entry, this.#forms.get(entry)!);
    this.#tensors.set(entry, tensor);
    return tensor;
  }

  /** Copies both vectors; replaces what was loaded before. @throws RangeError on lengths other than the layout's. */
  load(parameters: Float32Array, statistics: Float32Array): void {
    this.dispose();
    const copies = { parameters: parameters.slice(), statistics: statistics.slice() };
    this.lend({ ...copies, exact: new Float32Array(0), wait: () => undefined });
    for (const entry of this.#entries.values()) this.tensor(entry);
    this.#vectors = undefined;
  }

  /**
   * From now on what is not on the device is taken from these, when a layer asks for it. What is there already stays: for
   * another version, `dispose` first. Where an entry begins at a multiple of 64 bytes of memory, a processor computes with
   * the vector itself: it must not change before `dispose`. @throws RangeError on lengths other than the layout's.
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

  #upload(entry: TensorEntry, { region, rounded, exactAt }: Form): Tensor {
    if (this.#vectors === undefined) throw new Error(`${entry.name} was asked for before any parameters were loaded`);
    const { parameters, exact, statistics, wait } = this.#vectors;
    const { offset, size, shape } = entry;
    wait(region === 'parameters' ? offset + size : 0);
    if (region === 'statistics') return Tensor.of(statistics.subarray(offset, offset + size), shape);
    if (parameters instanceof Float32Array) {
      const values = parameters.subarray(offset, offset + size);
      return rounded ? roundedTensor(values, shape) : Tensor.of(values, shape);
    }
    if (!rounded) return Tensor.of(exact.subarray(exactAt, exactAt + size), shape);
    return tensorOfBits(parameters.subarray(offset, offset + size), shape);
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
  if (bits.length % 2 !== 0 || bits.byteOffset % 4 !== 0) {
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
