// Owns: the arithmetic on vectors as WebAssembly SIMD: every operation is IEEE's, rounded once, as JavaScript's own would be.
// Refuses to know: where numbers come from. Kernels work on a tile of memory, in whole vectors; what is beyond its end is padding.
import {
  addF32x4,
  addF64x2,
  addI32,
  addI32x4,
  and,
  anyTrue,
  bitselect,
  type Code,
  equalI16x8,
  equalI32x4,
  get,
  greaterThanI32x4,
  i32,
  load,
  loadWidened16,
  loopWhileBelow,
  moduleOf,
  mulF32x4,
  mulF64x2,
  multiplyI32,
  narrowToU16x8,
  or,
  promoteLow,
  set,
  shiftLeftI32x4,
  shiftRightUI32x4,
  splatF32,
  splatI32,
  store,
  subF32x4,
  subF64x2,
  type ValueType,
  type WasmFunction,
  upperThenLower,
  zero,
} from './assembler.js';

/** Elements that a round of any kernel's loop takes; tiles are padded to a multiple of it. */
export const roundElements = 8;

/** Addresses are bytes; counts are elements, above 0, and rounded up to whole rounds by the kernel's loop. */
export interface Kernels {
  readonly add: (acc: number, x: number, count: number) => void;
  readonly addBfloat16: (acc: number, x: number, count: number) => void;
  readonly widen: (bits: number, out: number, count: number) => void;
  readonly round: (x: number, bits: number, count: number) => void;
  /** 1 where an exponent of a float32 is all ones. */
  readonly notFinite: (x: number, count: number) => number;
  readonly notFiniteBfloat16: (bits: number, count: number) => number;
  readonly sgd: SgdKernel;
  readonly sgdDecay: SgdKernel;
  readonly nesterov: SgdKernel;
  readonly nesterovDecay: SgdKernel;
  /** Adds the squares of a multiple of 4 elements to the four float64 at `sums`: element i to number i mod 4. */
  readonly addSquares: (x: number, sums: number, count: number) => void;
  /** For a multiple of 4 elements: squares of gradients, moves and weights to four float64 each at `sums`. */
  readonly addStepSquares: (gradient: number, before: number, after: number, sums: number, count: number) => void;
}

/** Momentum SGD (optimizer.ts); 1 where an output is not finite. Inputs are parameter, momentum and gradient. */
export type SgdKernel = (
  parameters: number,
  momentum: number,
  gradient: number,
  outParameters: number,
  outMomentum: number,
  count: number,
  rate: number,
  factor: number,
  decay: number,
  scale: number,
) => number;

const exponent = 0x7f800000;
const bfloat16Exponents = 0x7f807f80;

/** Throws CompileError where the machine has no SIMD, which every supported Node has. */
export function compileKernels(memory: WebAssembly.Memory): Kernels {
  const module = memory.buffer instanceof SharedArrayBuffer ? sharedModule() : ownModule();
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
}

const sharedModule = once(() => new WebAssembly.Module(moduleOf(functions(), true)));
const ownModule = once(() => new WebAssembly.Module(moduleOf(functions(), false)));

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** A kernel's parameters are its pointers, the count, and numbers; locals are the end of the first pointer and vectors. */
interface Shape {
  readonly name: string;
  /** Bytes per element behind each pointer; pointers that stay where they are come last, as 0. */
  readonly pointers: readonly number[];
  readonly numbers?: number;
  readonly vectors: number;
  readonly result?: ValueType;
}

/** Locals by what they are. */
interface Locals {
  readonly pointer: (index: number) => Code;
  readonly number: (index: number) => Code;
  readonly vector: (index: number) => Code;
  readonly toVector: (index: number) => Code;
}

function kernel(
  { name, pointers, numbers = 0, vectors, result }: Shape,
  body: (locals: Locals) => Code,
  before: (locals: Locals) => Code = () => [],
  after: (locals: Locals) => Code = () => [],
): WasmFunction {
  const count = pointers.length;
  const firstNumber = count + 1;
  const end = firstNumber + numbers;
  const firstVector = end + 1;
  const locals: Locals = {
    pointer: get,
    number: (index) => get(firstNumber + index),
    vector: (index) => get(firstVector + index),
    toVector: (index) => set(firstVector + index),
  };
  const width = pointers[0]!;
  const advance = pointers.flatMap((bytes, pointer) =>
    bytes === 0 ? [] : [...get(pointer), ...i32(bytes * roundElements), ...addI32, ...set(pointer)],
  );
  return {
    name,
    parameters: [...pointers.map(() => 'i32' as const), 'i32', ...new Array<ValueType>(numbers).fill('f32')],
    ...(result && { result }),
    locals: ['i32', ...new Array<ValueType>(vectors).fill('v128')],
    body: [
      ...[...get(count), ...i32(width), ...multiplyI32, ...get(0), ...addI32, ...set(end)],
      ...before(locals),
      ...loopWhileBelow(0, end, [...body(locals), ...advance]),
      ...after(locals),
    ],
  };
}

/** Both vectors of four float32 of a round. */
const halves = [0, 16] as const;

function functions(): WasmFunction[] {
  return [
    kernel({ name: 'add', pointers: [4, 4], vectors: 0 }, ({ pointer }) =>
      halves.flatMap((at) => [
        ...pointer(0),
        ...[...pointer(0), ...load(at), ...pointer(1), ...load(at), ...addF32x4],
        ...store(at),
      ]),
    ),
    kernel({ name: 'addBfloat16', pointers: [4, 2], vectors: 0 }, ({ pointer }) =>
      halves.flatMap((at) => [
        ...pointer(0),
        ...[...pointer(0), ...load(at), ...widened(pointer(1), at / 2), ...addF32x4],
        ...store(at),
      ]),
    ),
    kernel({ name: 'widen', pointers: [2, 4], vectors: 0 }, ({ pointer }) =>
      halves.flatMap((at) => [...pointer(1), ...widened(pointer(0), at / 2), ...store(at)]),
    ),
    kernel({ name: 'round', pointers: [4, 2], vectors: 1 }, (locals) => [
      ...locals.pointer(1),
      ...halves.flatMap((at) => rounded(locals, at)),
      ...narrowToU16x8,
      ...store(),
    ]),
    kernel(
      { name: 'notFinite', pointers: [4], vectors: 1, result: 'i32' },
      ({ pointer, vector, toVector }) => [
        ...vector(0),
        ...halves.flatMap((at) => [...infinite([...pointer(0), ...load(at)]), ...or]),
        ...toVector(0),
      ],
      () => [],
      ({ vector }) => [...vector(0), ...anyTrue],
    ),
    kernel(
      { name: 'notFiniteBfloat16', pointers: [2], vectors: 1, result: 'i32' },
      ({ pointer, vector, toVector }) => [
        ...vector(0),
        ...[...pointer(0), ...load(), ...splatI32(bfloat16Exponents), ...and],
        ...[...splatI32(bfloat16Exponents), ...equalI16x8, ...or],
        ...toVector(0),
      ],
      () => [],
      ({ vector }) => [...vector(0), ...anyTrue],
    ),
    sgd('sgd', false, false),
    sgd('sgdDecay', false, true),
    sgd('nesterov', true, false),
    sgd('nesterovDecay', true, true),
    addSquares(),
    addStepSquares(),
  ];
}

function widened(bits: Code, at: number): Code {
  return [...bits, ...loadWidened16(at), ...i32(16), ...shiftLeftI32x4];
}

/** Four float32 as the bits of bfloat16 in 32 bits each: to nearest, ties to even; a NaN is cut and made quiet. */
function rounded({ pointer, vector, toVector }: Locals, at: number): Code {
  const cut = [...vector(0), ...i32(16), ...shiftRightUI32x4];
  return [
    ...[...pointer(0), ...load(at), ...toVector(0)],
    ...[...cut, ...splatI32(0x40), ...or],
    ...[...vector(0), ...splatI32(0x7fff), ...addI32x4, ...cut, ...splatI32(1), ...and, ...addI32x4],
    ...[...i32(16), ...shiftRightUI32x4],
    ...[...vector(0), ...splatI32(0x7fffffff), ...and, ...splatI32(exponent), ...greaterThanI32x4],
    ...bitselect,
  ];
}

/** Ones where all exponent bits of a float32 are set. */
function infinite(value: Code): Code {
  return [...value, ...splatI32(exponent), ...and, ...splatI32(exponent), ...equalI32x4];
}

function sgd(name: string, nesterov: boolean, decays: boolean): WasmFunction {
  const [parameters, momentum, gradient, outParameters, outMomentum] = [0, 1, 2, 3, 4];
  const [check, rate, factor, decay, scale, direction, velocity, moved] = [0, 1, 2, 3, 4, 5, 6, 7];
  return kernel(
    { name, pointers: [4, 4, 4, 4, 4], numbers: 4, vectors: 8, result: 'i32' },
    ({ pointer, vector, toVector }) =>
      halves.flatMap((at) => [
        ...[...pointer(gradient), ...load(at), ...vector(scale), ...mulF32x4],
        ...(decays
          ? [...vector(decay), ...pointer(parameters), ...load(at), ...mulF32x4, ...addF32x4, ...toVector(direction)]
          : toVector(direction)),
        ...[...vector(factor), ...pointer(momentum), ...load(at), ...mulF32x4],
        ...[...vector(direction), ...addF32x4, ...toVector(velocity)],
        ...[...pointer(parameters), ...load(at), ...vector(rate)],
        ...(nesterov
          ? [...vector(direction), ...vector(factor), ...vector(velocity), ...mulF32x4, ...addF32x4]
          : vector(velocity)),
        ...[...mulF32x4, ...subF32x4, ...toVector(moved)],
        ...[...pointer(outMomentum), ...vector(velocity), ...store(at)],
        ...[...pointer(outParameters), ...vector(moved), ...store(at)],
        ...[...vector(check), ...infinite(vector(velocity)), ...or, ...infinite(vector(moved)), ...or],
        ...toVector(check),
      ]),
    ({ number, toVector }) =>
      [rate, factor, decay, scale].flatMap((local, index) => [...number(index), ...splatF32, ...toVector(local)]),
    ({ vector }) => [...vector(check), ...anyTrue],
  );
}

/** Of four float32 in a vector, the lower two as float64, then the upper two. */
const pairs = [promoteLow, [...zero, ...upperThenLower, ...promoteLow]] as const;

function addSquares(): WasmFunction {
  const [x, sums] = [0, 1];
  const [value, wide, firstSum] = [0, 1, 2];
  return kernel(
    { name: 'addSquares', pointers: [4, 0], vectors: 4 },
    ({ pointer, vector, toVector }) =>
      halves.flatMap((at) => [
        ...[...pointer(x), ...load(at), ...toVector(value)],
        ...pairs.flatMap((pair, half) => [
          ...[...vector(value), ...pair, ...toVector(wide)],
          ...[...vector(firstSum + half), ...vector(wide), ...vector(wide), ...mulF64x2, ...addF64x2],
          ...toVector(firstSum + half),
        ]),
      ]),
    ({ pointer, toVector }) =>
      halves.flatMap((at, half) => [...pointer(sums), ...load(at), ...toVector(firstSum + half)]),
    ({ pointer, vector }) => halves.flatMap((at, half) => [...pointer(sums), ...vector(firstSum + half), ...store(at)]),
  );
}

function addStepSquares(): WasmFunction {
  const [gradient, before, after, sums] = [0, 1, 2, 3];
  const [wide, weight, firstSum] = [0, 1, 2];
  const kinds = [0, 1, 2];
  const sumOf = (kind: number, half: number): number => firstSum + 2 * kind + half;
  return kernel(
    { name: 'addStepSquares', pointers: [4, 4, 4, 0], vectors: 8 },
    ({ pointer, vector, toVector }) => {
      const square = (kind: number, half: number, value: number): Code => [
        ...[...vector(sumOf(kind, half)), ...vector(value), ...vector(value), ...mulF64x2, ...addF64x2],
        ...toVector(sumOf(kind, half)),
      ];
      return halves.flatMap((at) =>
        pairs.flatMap((pair, half) => [
          ...[...pointer(gradient), ...load(at), ...pair, ...toVector(wide), ...square(0, half, wide)],
          ...[...pointer(before), ...load(at), ...pair, ...toVector(weight), ...square(2, half, weight)],
          ...[...pointer(after), ...load(at), ...pair, ...vector(weight), ...subF64x2, ...toVector(wide)],
          ...square(1, half, wide),
        ]),
      );
    },
    ({ pointer, toVector }) =>
      kinds.flatMap((kind) =>
        halves.flatMap((at, half) => [...pointer(sums), ...load(32 * kind + at), ...toVector(sumOf(kind, half))]),
      ),
    ({ pointer, vector }) =>
      kinds.flatMap((kind) =>
        halves.flatMap((at, half) => [...pointer(sums), ...vector(sumOf(kind, half)), ...store(32 * kind + at)]),
      ),
  );
}
