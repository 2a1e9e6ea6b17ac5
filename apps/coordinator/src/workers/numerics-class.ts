// What must match between workers for bits to match, as text and as a short id. Pure.
import { createHash } from 'node:crypto';
import type { NumericsClass } from '#proto/generated/lockstep/v1/pool.js';

/** For people, such as `TensorFlow 2.21.0, cpu AMD EPYC 9R14, avx512f avx512_bf16, 1 thread, sharp 0.35`. */
export function describeClass(numerics: NumericsClass): string {
  const { tensorflowVersion, deviceKind, deviceModel, instructionSet, threads, imageLibrary, flags } = numerics;
  return [
    `TensorFlow ${tensorflowVersion}`,
    `${deviceKind} ${deviceModel}`.trim(),
    instructionSet,
    `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    imageLibrary,
    flags,
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** Twelve hexadecimal digits that stand for the class in queue names and tables. */
export function classIdOf(numerics: NumericsClass): string {
  return createHash('sha256').update(describeClass(numerics)).digest('hex').slice(0, 12);
}

export function queueNameOf(classId: string): string {
  return `tasks-${classId}`;
}
