// Owns: writing WebAssembly functions as bytes: the instructions that vector kernels need, loops, and the module around them.
// Refuses to know: what the kernels compute. Numbers are those of the WebAssembly specification 2.0, chapter 5 (binary format).

/** Instructions in their binary form. */
export type Code = readonly number[];

export type ValueType = 'i32' | 'f32' | 'v128';

/** A function of the module: its parameters come first among the locals. */
export interface WasmFunction {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly result?: ValueType;
  /** Locals beyond the parameters. */
  readonly locals: readonly ValueType[];
  readonly body: Code;
}

const typeBytes: Readonly<Record<ValueType, number>> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };
const functionType = 0x60;
const emptyBlock = 0x40;

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const i32 = (value: number): Code => [0x41, ...signed(value)];
export const addI32: Code = [0x6a];
export const multiplyI32: Code = [0x6c];
export const shiftLeftI32: Code = [0x74];
export const lessThanU: Code = [0x49];

const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
/** Alignment is a hint only; 0 makes no promise. */
const memoryAt = (opcode: number, offset: number): Code => [...simd(opcode), 0, ...unsigned(offset)];

/** Bytes to v128 and back, at the address on the stack plus `offset`. */
export const load = (offset = 0): Code => memoryAt(0x00, offset);
export const store = (offset = 0): Code => memoryAt(0x0b, offset);
/** Four 16-bit numbers, widened to 32 bits each with zeros. */
export const loadWidened16 = (offset = 0): Code => memoryAt(0x04, offset);
/** The 32 bits at the address, in all four lanes. */
export const loadSplat32 = (offset = 0): Code => memoryAt(0x09, offset);
/** The lowest 4 bytes of a vector. */
export const storeLowest32 = (offset = 0): Code => [...memoryAt(0x5a, offset), 0];
/** Scalars: alignment is a hint here, too. */
export const loadI32 = (offset = 0): Code => [0x28, 0, ...unsigned(offset)];
export const loadByte = (offset = 0): Code => [0x2d, 0, ...unsigned(offset)];
export const loadF32 = (offset = 0): Code => [0x2a, 0, ...unsigned(offset)];
export const storeF32 = (offset = 0): Code => [0x38, 0, ...unsigned(offset)];

/** The same 32 bits in all four lanes. */
export const splatI32 = (value: number): Code => [...i32(value), ...simd(0x11)];
export const splatF32: Code = simd(0x13);
export const zero: Code = [...simd(0x0c), ...new Array<number>(16).fill(0)];

/** Of two vectors, 16 bytes by their places: those of the first are 0 to 15, those of the second 16 to 31. */
export const shuffle = (bytes: readonly number[]): Code => [...simd(0x0d), ...bytes];

export const and = simd(0x4e);
export const or = simd(0x50);
/** Of three operands a, b, mask: a where the mask has ones, else b. */
export const bitselect = simd(0x52);
export const anyTrue = simd(0x53);

export const equalI16x8 = simd(0x2d);
export const equalI32x4 = simd(0x37);
export const greaterThanI32x4 = simd(0x3b);
export const shiftLeftI32x4 = simd(0xab);
export const shiftRightI32x4 = simd(0xac);
export const shiftRightUI32x4 = simd(0xad);
export const addI32x4 = simd(0xae);
/** Products of signed 16-bit lanes, added in pairs to 32 bits. */
export const dotI16x8 = simd(0xba);
/** With the largest or smallest number where one does not fit. */
export const narrowToI16x8 = simd(0x85);
export const narrowToU16x8 = simd(0x86);
export const narrowToU8x16 = simd(0x66);
/** The lower or upper eight bytes, widened to 16 bits each with zeros. */
export const extendLowU8 = simd(0x89);
export const extendHighU8 = simd(0x8a);

export const addF32x4 = simd(0xe4);
export const subF32x4 = simd(0xe5);
export const mulF32x4 = simd(0xe6);

/** The lower two float32 lanes as float64. */
export const promoteLow = simd(0x5f);
export const addF64x2 = simd(0xf0);
export const subF64x2 = simd(0xf1);
export const mulF64x2 = simd(0xf2);
/** Of a and b: the upper half of a, then the lower half of b. */
export const upperThenLower = shuffle(Array.from({ length: 16 }, (_, byte) => byte + 8));

/** Runs `body`, which must advance `local`, as long as `local` is below `end`; the first time unconditionally. */
export function loopWhileBelow(local: number, end: number, body: Code): Code {
  return [0x03, emptyBlock, ...body, ...get(local), ...get(end), ...lessThanU, 0x0d, 0, 0x0b];
}

/** Pages of 64 KiB that 32-bit addresses reach. */
export const mostPages = 65_536;

/** The module's bytes: it imports `env.memory`, shared between threads or not, and exports every function. */
export function moduleOf(functions: readonly WasmFunction[], sharedMemory: boolean): Uint8Array<ArrayBuffer> {
  const types = functions.map(({ parameters, result }) => [
    functionType,
    ...vector(parameters.map((type) => [typeBytes[type]])),
    ...vector(result === undefined ? [] : [[typeBytes[result]]]),
  ]);
  const limits = sharedMemory ? [0x03, ...unsigned(1), ...unsigned(mostPages)] : [0x00, ...unsigned(1)];
  const memoryImport = [...text('env'), ...text('memory'), 0x02, ...limits];
  const bodies = functions.map(({ locals, body }) => {
    const code = [...vector(locals.map((type) => [1, typeBytes[type]])), ...body, 0x0b];
    return [...unsigned(code.length), ...code];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(types)),
    ...section(2, vector([memoryImport])),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(functions.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)]))),
    ...section(10, vector(bodies)),
  ]);
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): Code {
  return vector(Array.from(Buffer.from(value, 'utf8'), (byte) => [byte]));
}

/** LEB128. */
function unsigned(value: number): Code {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return [...bytes, rest];
}

function signed(value: number): Code {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}
