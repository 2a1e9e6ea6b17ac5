// The order in which slices' answers per block make one vector. Pure.

/** Values per block of all slices, in index order of the blocks (blocks are dealt to the slices in turn). */
export function inBlockOrder(values: readonly Float64Array[]): number[] {
  const total = values.reduce((count, part) => count + part.length, 0);
  return Array.from(
    { length: total },
    (_, index) => values[index % values.length]![Math.floor(index / values.length)]!,
  );
}
