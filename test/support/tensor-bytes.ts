// Owns: counting how many bytes of tensors are alive at most while something runs, by watching each be made and disposed.
// Refuses to know: how many there should be.

import { vi } from 'vitest';
import { observeKernels } from '#model/tensorflow/kernel.js';
import { Tensor } from '#model/tensorflow/tensor.js';

/** Networks hold no strings. */
const WIDTHS: Readonly<Record<Tensor['dtype'], number>> = {
  ...{ float32: 4, int32: 4, uint8: 1, int16: 2, bfloat16: 2, string: 0 },
};

/**
 * Kernels whose first output has the first input's memory. With a residual it is really the fourth of LockstepBatchNormGrad; both are
 * of one size, and either way one of them is new.
 */
const SHARING = new Set(['Reshape', 'Identity', 'Bitcast', 'LockstepNormalise', 'LockstepBatchNormGrad']);

interface Memory {
  readonly bytes: number;
  users: number;
}

/** Memory of JavaScript's that tensors are made of is counted too, shared or copied. */
export function peakBytes(work: () => void): number {
  const memories = new Map<Tensor, Memory>();
  let alive = 0;
  let peak = 0;
  let shared: Memory | undefined;
  const note = (tensor: Tensor): Tensor => {
    const memory = shared ?? { bytes: tensor.size * WIDTHS[tensor.dtype], users: 0 };
    shared = undefined;
    if (memory.users === 0) alive += memory.bytes;
    memory.users += 1;
    memories.set(tensor, memory);
    peak = Math.max(peak, alive);
    return tensor;
  };
  const of = Tensor.of.bind(Tensor);
  const adopt = Tensor.adopt.bind(Tensor);
  const dispose: unknown = Reflect.get(Tensor.prototype, 'dispose');
  const spies = [
    vi.spyOn(Tensor, 'of').mockImplementation((values, shape) => note(of(values, shape))),
    vi.spyOn(Tensor, 'adopt').mockImplementation((output) => note(adopt(output))),
    vi.spyOn(Tensor.prototype, 'dispose').mockImplementation(function disposed(this: Tensor) {
      (dispose as () => void).call(this);
      const memory = memories.get(this);
      if (memory === undefined) return;
      memories.delete(this);
      memory.users -= 1;
      if (memory.users === 0) alive -= memory.bytes;
    }),
  ];
  observeKernels((name, _ms, [first]) => {
    shared = first !== undefined && SHARING.has(name) ? memories.get(first) : undefined;
  });
  try {
    work();
    return peak;
  } finally {
    observeKernels(undefined);
    for (const spy of spies) spy.mockRestore();
  }
}
