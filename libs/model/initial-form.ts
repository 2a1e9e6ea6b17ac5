// Owns: version 0 of a net's parameters in the form in which a worker holds versions, made tensor by tensor with little memory beside it.
// Refuses to know: what the random numbers are (parameters.ts) and who computes with them.
import { roundToBfloat16 } from './float-arrays.js';
import type { ModelSpec } from './job-spec.js';
import { type ParameterVectors, staysFloat32 } from './parameter-forms.js';
import { initialStatistics, initialTensors, type ParameterLayout } from './parameters.js';

/**
 * Fills vectors of any content.
 * @param onTensor told before each tensor: the largest nets take seconds
 */
export function fillWithInitialState(
  {
    parameters,
    exact,
    statistics,
  }: Omit<ParameterVectors, 'wait' | 'exact'> & { readonly exact?: Float32Array | undefined },
  model: ModelSpec,
  layout: ParameterLayout,
  seed: number,
  onTensor: () => void = () => undefined,
): void {
  const start = initialTensors(model, seed);
  let scratch = new Float32Array(0);
  let exactAt = 0;
  for (const entry of layout.parameters) {
    const { offset, size } = entry;
    onTensor();
    if (parameters instanceof Float32Array) {
      start(entry, parameters.subarray(offset, offset + size));
      continue;
    }
    if (scratch.length < size) scratch = new Float32Array(size);
    const values = scratch.subarray(0, size);
    start(entry, values);
    roundToBfloat16(values, parameters.subarray(offset, offset + size));
    if (!staysFloat32(layout, entry)) continue;
    exact?.set(values, exactAt);
    exactAt += size;
  }
  initialStatistics(layout, statistics);
}
