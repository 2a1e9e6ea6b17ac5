// Owns: what the kernels must come to, bit by bit, as plain loops that anybody can check: the arithmetic's definition in specs.
// Refuses to know: WebAssembly.
import type { SgdUpdate } from '../optimizer.js';

const round = Math.fround;

export function plainAdd(acc: Float32Array, x: Float32Array): void {
  for (let index = 0; index < acc.length; index++) acc[index]! += x[index]!;
}

export function plainRound(x: Float32Array, out: Uint16Array): void {
  const bits = new Uint32Array(x.slice().buffer);
  for (const [index, word] of bits.entries()) {
    if ((word & 0x7fffffff) > 0x7f800000) out[index] = (word >>> 16) | 0x40;
    else out[index] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
}

export function plainWiden(bits: Uint16Array): Float32Array {
  return new Float32Array(Uint32Array.from(bits, (word) => word << 16).buffer);
}

export function plainSgd(update: SgdUpdate & { readonly weightDecay: number }): boolean {
  const { parameters, momentum, gradient, outParameters, outMomentum, from, to, nesterov } = update;
  const [rate, factor] = [round(update.learningRate), round(update.momentumFactor)];
  const [decay, scale] = [round(update.weightDecay), round(update.scale)];
  let finite = true;
  for (let index = from; index < to; index++) {
    const parameter = parameters[index]!;
    let direction = round(gradient[index]! * scale);
    if (decay !== 0) direction = round(direction + round(decay * parameter));
    const velocity = round(round(factor * momentum[index]!) + direction);
    const move = nesterov ? round(direction + round(factor * velocity)) : velocity;
    outMomentum[index] = velocity;
    outParameters[index] = round(parameter - round(rate * move));
    finite &&= Number.isFinite(velocity) && Number.isFinite(outParameters[index]!);
  }
  return finite;
}

/** Four running sums, in float64; what is left at the end goes to the first. */
export function plainSquares(value: (index: number) => number, count: number): number {
  const sums = [0, 0, 0, 0];
  const whole = count - (count % 4);
  for (let index = 0; index < count; index++) sums[index < whole ? index % 4 : 0]! += value(index) ** 2;
  return sums[0]! + sums[1]! + (sums[2]! + sums[3]!);
}
