// The hash that a checkpoint's manifest promises, computed anew from the bytes of its model file.
// Refuses to use the reader and the conversions of libs/model: a user with another language would write this.
import { createHash } from 'node:crypto';

interface Header {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** The tensors of a safetensors file by name: float32, row by row. */
export function tensorsIn(file: Buffer): Map<string, { shape: readonly number[]; values: Float32Array }> {
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + headerBytes).toString()) as Record<string, Header>;
  const data = file.subarray(8 + headerBytes);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array }>();
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    if (dtype !== 'F32') throw new Error(`${name} is ${dtype}`);
    const bytes = Uint8Array.from(data.subarray(...offsets));
    tensors.set(name, { shape, values: new Float32Array(bytes.buffer) });
  }
  return tensors;
}

/**
 * SHA-256 over the parameters, flat and little-endian: filters from torchvision's [out, in, height, width] to
 * [height, width, in, out], dense weights from [out, in] to [in, out].
 * @param names parameters in the layout's order
 */
export function parametersHashOf(file: Buffer, names: readonly string[]): string {
  const tensors = tensorsIn(file);
  const hash = createHash('sha256');
  for (const name of names) {
    const { shape, values } = tensors.get(name)!;
    hash.update(new Uint8Array(reordered(values, shape).buffer));
  }
  return hash.digest('hex');
}

function reordered(values: Float32Array, shape: readonly number[]): Float32Array {
  if (shape.length === 1) return values;
  const [outs, ins, height = 1, width = 1] = shape as [number, number, number?, number?];
  const result = new Float32Array(values.length);
  let at = 0;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      for (let i = 0; i < ins; i += 1) {
        for (let o = 0; o < outs; o += 1) result[at++] = values[((o * ins + i) * height + row) * width + column]!;
      }
    }
  }
  return result;
}
