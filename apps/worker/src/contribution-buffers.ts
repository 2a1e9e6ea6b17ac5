// Memory for one contribution: the gradient in the type in which it goes over the wire, and the batch statistics behind it.
// Refuses to know who computes it and where it goes.
import type { JobContext } from './job-contexts.js';
import type { SharedBuffers } from './shared-buffers.js';

export async function contributionBuffers({ layout, spec }: JobContext, gradients: SharedBuffers, signal: AbortSignal) {
  const bfloat16 = spec.training.wire === 'bfloat16';
  const width = bfloat16 ? Uint16Array.BYTES_PER_ELEMENT : Float32Array.BYTES_PER_ELEMENT;
  const statisticsAt = Math.ceil((layout.parameterCount * width) / 64) * 64;
  const loan = await gradients.acquire(statisticsAt + layout.statisticCount * Float32Array.BYTES_PER_ELEMENT, signal);
  const { buffer } = loan;
  return {
    loan,
    gradient: bfloat16
      ? new Uint16Array(buffer, 0, layout.parameterCount)
      : new Float32Array(buffer, 0, layout.parameterCount),
    statistics: new Float32Array(buffer, statisticsAt, layout.statisticCount),
  };
}
