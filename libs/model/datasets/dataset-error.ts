// Owns: the error for a dataset that is not there or not what it should be, and the checks of arguments that all readers share.
// Refuses to know: single formats.
import type { EvaluationViews } from '../evaluation-views.js';

/** A dataset that cannot be read; the message says which file is wrong and what to do. */
export class DatasetError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DatasetError';
  }
}

/** Checks the arguments of a prepare function: ids in range, buffers of the right length. */
export function checkRequest(
  part: 'training' | 'test',
  available: number,
  ids: { readonly length: number; readonly highest: number },
  out: Float32Array,
  labels: Int32Array,
  imageElements: number,
): void {
  if (ids.highest >= available)
    throw new RangeError(`${part} sample ${ids.highest} is outside a dataset of ${available}`);
  if (out.length !== ids.length * imageElements || labels.length !== ids.length) {
    throw new RangeError(
      `${ids.length} images need ${ids.length * imageElements} numbers and ${ids.length} labels, ` +
        `not ${out.length} and ${labels.length}`,
    );
  }
}

export function highestOf(ids: Uint32Array): number {
  let highest = -1;
  for (const id of ids) if (id > highest) highest = id;
  return highest;
}

/** Images that come in one size have ten crops of the padded image, and no other sizes. */
export function checkFixedSize({ crops, scales }: EvaluationViews): void {
  if (crops !== 10 || scales.length > 0) throw new RangeError('images of one size are seen whole or by ten crops');
}
