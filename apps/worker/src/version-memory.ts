// Memory for one version of the parameters: what lies in it and where, each part at a multiple of 64 bytes, as kernels compute in place.
// Refuses to know whose memory it is, and how the numbers get there.

const alignment = 64;

/** Elements of a version's parts. */
export interface VersionSizes {
  readonly parameterCount: number;
  readonly statisticCount: number;
  /** Elements that come in float32 beside bits of bfloat16; undefined where all are in float32. */
  readonly exactCount: number | undefined;
}

/** Where a version's numbers go. */
export interface VersionMemory {
  /** In float32, or bits of bfloat16. */
  readonly parameters: Float32Array | Uint16Array;
  /** What is float32 beside bits of bfloat16, else nothing. */
  readonly exact: Float32Array;
  readonly statistics: Float32Array;
}

/** Bytes that `versionIn` needs. */
export function versionBytes(sizes: VersionSizes): number {
  return placesOf(sizes).end;
}

/** Views of the first `versionBytes` bytes of a buffer. */
export function versionIn(buffer: SharedArrayBuffer, sizes: VersionSizes): VersionMemory {
  const { parameterCount, statisticCount, exactCount } = sizes;
  const { exactAt, statisticsAt } = placesOf(sizes);
  return {
    parameters:
      exactCount === undefined
        ? new Float32Array(buffer, 0, parameterCount)
        : new Uint16Array(buffer, 0, parameterCount),
    exact: new Float32Array(buffer, exactAt, exactCount ?? 0),
    statistics: new Float32Array(buffer, statisticsAt, statisticCount),
  };
}

function placesOf({ parameterCount, statisticCount, exactCount }: VersionSizes) {
  const width = exactCount === undefined ? Float32Array.BYTES_PER_ELEMENT : Uint16Array.BYTES_PER_ELEMENT;
  const exactAt = aligned(parameterCount * width);
  const statisticsAt = exactAt + aligned((exactCount ?? 0) * Float32Array.BYTES_PER_ELEMENT);
  return { exactAt, statisticsAt, end: statisticsAt + statisticCount * Float32Array.BYTES_PER_ELEMENT };
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
