// What slices must know of a job, from its spec and layout. Pure.
import { layersOf } from '#model/layer-norms.js';
import { decayRanges } from '#model/optimizer.js';
import { exactRanges } from '#model/parameter-forms.js';
import type { TrainingJob } from '../training-job.js';
import type { SliceJob } from './messages.js';

export function sliceJobOf({ id, spec, layout }: Pick<TrainingJob, 'id' | 'spec' | 'layout'>): SliceJob {
  const { optimizer, precision, wire } = spec.training;
  return {
    jobId: id,
    layoutHash: layout.hash,
    parameterCount: layout.parameterCount,
    statisticCount: layout.statisticCount,
    wire,
    exactRanges: precision === 'bfloat16' ? exactRanges(layout, precision) : undefined,
    momentum: optimizer.momentum,
    nesterov: optimizer.nesterov,
    decayRanges: decayRanges(layout, optimizer),
    layers: layersOf(layout),
    tensors: layout.parameters.map(({ name, offset, size }) => ({ name, offset, size })),
  };
}
