// A ledger record of a step, to be changed where a spec needs it. Refuses to know what a real step would say.
import type { StepRecord } from '../ledger-format.js';

export function stepRecord(step: number, change: Partial<StepRecord> = {}): StepRecord {
  return {
    kind: 'step',
    step,
    version: step + 1,
    lineage: 1,
    round: 0,
    epoch: 0,
    first: 4 * step,
    samples: 4,
    sampleIdsSha256: 'ab'.repeat(32),
    excluded: [],
    excludedShards: [],
    tasks: [{ task: 0, samples: 4, worker: 'w', attempt: 1, seconds: 0.5, checksum: 7, provedBy: null }],
    refused: [],
    loss: 2.25,
    learningRate: 0.1,
    parametersChecksum: 99 + step,
    committedAt: '2026-01-01T00:00:00.000Z',
    ...change,
  };
}
