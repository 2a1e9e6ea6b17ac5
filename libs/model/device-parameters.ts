// Owns: a net's parameters and running statistics on the device, by name; filters rounded once per load in bfloat16.
// Refuses to know: layers and gradients; where the flat vectors come from.

import type { ParameterSource } from './layers/sink.js';
import type { ParameterLayout, TensorEntry } from './parameters.js';
import { cast } from './tensorflow/kernels.js';
import { Tensor } from './tensorflow/tensor.js';

/** Numbers that a tensor's place is rounded up to: 64 bytes, from where TensorFlow shares memory instead of copying. */
const ALIGNMENT = 16;

export class DeviceParameters implements ParameterSource {
  readonly #entries = new Map<string, TensorEntry>();
  readonly #tensors = new Map<TensorEntry, Tensor>();
  /** Entries that kernels want in bfloat16: filters and the biases behind convolutions. */
  readonly #rounded = new Set<TensorEntry>();
  /** Own copies of the entries kept in float32, so that whoever loaded them may change his vectors afterwards. */
  readonly #kept: { readonly entry: TensorEntry; readonly values: Float32Array }[] = [];

  /** @param keepFloat32 which parameters stay in float32 in a bfloat16 net */
  constructor(
    private readonly layout: ParameterLayout,
    precision: 'float32' | 'bfloat16',
    keepFloat32: (entry: TensorEntry) => boolean,
  ) {
    const all = [...layout.parameters, ...layout.statistics];
    let length = 0;
    const places = new Map<TensorEntry, number>();
    for (const entry of all) {
      this.#entries.set(entry.name, entry);
      if (precision === 'bfloat16' && !keepFloat32(entry)) {
        this.#rounded.add(entry);
        continue;
      }
      places.set(entry, length);
      length += Math.ceil(entry.size / ALIGNMENT) * ALIGNMENT;
    }
    const buffer = new Float32Array(length);
    for (const [entry, place] of places) {
      this.#kept.push({ entry, values: buffer.subarray(place, place + entry.size) });
    }
  }

  entry(name: string): TensorEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new RangeError(`the layout has no tensor '${name}'`);
    return entry;
  }

  tensor(entry: TensorEntry): Tensor {
    const tensor = this.#tensors.get(entry);
    if (tensor === undefined) throw new Error(`${entry.name} was asked for before any parameters were loaded`);
    return tensor;
  }

  /** Copies both vectors; replaces what was loaded before. @throws RangeError on lengths other than the layout's. */
  load(parameters: Float32Array, statistics: Float32Array): void {
    const { parameterCount, statisticCount } = this.layout;
    if (parameters.length !== parameterCount || statistics.length !== statisticCount) {
      throw new RangeError(
        `the net has ${parameterCount} parameters and ${statisticCount} statistics, ` +
          `not ${parameters.length} and ${statistics.length}`,
      );
    }
    this.dispose();
    const statisticEntries = new Set(this.layout.statistics);
    for (const { entry, values } of this.#kept) {
      const region = statisticEntries.has(entry) ? statistics : parameters;
      values.set(region.subarray(entry.offset, entry.offset + entry.size));
      this.#tensors.set(entry, Tensor.of(values, entry.shape));
    }
    for (const entry of this.#rounded) {
      const exact = Tensor.of(parameters.subarray(entry.offset, entry.offset + entry.size), entry.shape);
      this.#tensors.set(entry, cast(exact, 'bfloat16'));
      exact.dispose();
    }
  }

  dispose(): void {
    for (const tensor of this.#tensors.values()) tensor.dispose();
    this.#tensors.clear();
  }
}
