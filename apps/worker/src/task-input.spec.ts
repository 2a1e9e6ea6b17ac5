import { describe, expect, it } from 'vitest';
import type { Dataset } from '#model/datasets/dataset.js';
import type { ViewGroup } from '#model/evaluation-views.js';
import { resolveJobSpec } from '#model/job-spec.js';
import { sampleIds } from '#model/sampler.js';
import type { TaskEntry } from '#proto/task-entry.js';
import type { JobContext } from './job-contexts.js';
import { SharedBuffers } from './shared-buffers.js';
import { hashOf, prepareInput } from './task-input.js';

const trainCount = 40;
const side = 32;
const elements = side * side * 3;

/** Writes each image's id to all of its numbers and to its label, and says what it was asked for. */
class SpyDataset {
  readonly trainCount = trainCount;
  readonly imageShape = [side, side, 3];
  readonly asked: unknown[] = [];

  async prepareTrain(
    ids: Uint32Array,
    seed: number,
    epoch: number,
    how: string,
    out: Float32Array,
    labels: Int32Array,
  ) {
    this.asked.push({ train: [...ids], seed, epoch, how });
    this.#write([...ids], out, labels);
  }

  async prepareTest(first: number, count: number, out: Float32Array, labels: Int32Array) {
    this.asked.push({ test: [first, count] });
    this.#write(run(first, count), out, labels);
  }

  /** The even ones have nine views, the odd ones ten. */
  async prepareTestViews(_views: object, first: number, count: number, out: Float32Array, labels: Int32Array) {
    this.asked.push({ views: [first, count], room: out.length });
    let at = 0;
    return run(first, count).map((id, index): ViewGroup[] => {
      const views = 9 + (id % 2);
      labels[index] = id;
      out.fill(id, at, (at += views * elements));
      return [{ height: side, width: side, count: views }];
    });
  }

  #write(ids: readonly number[], out: Float32Array, labels: Int32Array): void {
    labels.set(ids);
    for (const [index, id] of ids.entries()) out.fill(id, index * elements, (index + 1) * elements);
  }
}

const run = (first: number, count: number): number[] => Array.from({ length: count }, (_, index) => first + index);

async function prepared(kind: 'train' | 'evaluate', shards: TaskEntry['shards'], evaluation: object = {}) {
  const spec = resolveJobSpec({
    model: { architecture: 'resnet8' },
    dataset: { kind: 'synthetic', size: trainCount, imageSize: side },
    training: { batchSize: 8 },
    evaluation,
  });
  const dataset = new SpyDataset();
  const key = { jobId: 'j', lineage: 0, step: 0, round: 0, task: 0, kind };
  const task: TaskEntry = { key, attempt: 1, version: 0, epoch: 2, shards, miniBatchSamples: 8 };
  const context = { spec, dataset: dataset as unknown as Dataset } as JobContext;
  const buffers = new SharedBuffers(1);
  const made = await prepareInput(task, context, buffers, new AbortController().signal);
  return { ...made, dataset, spec, buffers };
}

describe('prepareInput', () => {
  it('asks once for the training images of all shards, also where some between them are left out', async () => {
    const shards = [
      { first: 0, samples: 3 },
      { first: 6, samples: 2 },
    ];
    const { input, sampleIdsSha256, dataset, spec } = await prepared('train', shards);
    const { training } = spec;
    const ids = shards.flatMap(({ first, samples }) => [...sampleIds(training, 2, trainCount, first, samples)]);
    expect(dataset.asked).toEqual([{ train: ids, seed: training.seed, epoch: 2, how: spec.dataset.augmentation }]);
    expect([[...input.labels], input.shardSamples]).toEqual([ids, [3, 2]]);
    expect(input.images[4 * elements]).toBe(ids[4]);
    expect(sampleIdsSha256).toEqual(hashOf(Uint32Array.from(ids)));
  });

  const shards = [
    { first: 4, samples: 3 },
    { first: 7, samples: 2 },
  ];

  it('asks once for the test images of all shards', async () => {
    const { input, sampleIdsSha256, dataset } = await prepared('evaluate', shards);
    expect(dataset.asked).toEqual([{ test: [4, 5] }]);
    expect([[...input.labels], input.shardSamples, input.views]).toEqual([run(4, 5), [3, 2], undefined]);
    expect(sampleIdsSha256).toEqual(hashOf(new Uint32Array(0)));
  });

  it('asks once for the views of all shards, and gives them without the room that they leave', async () => {
    const { input, dataset } = await prepared('evaluate', shards, { crops: 10 });
    expect(dataset.asked).toEqual([{ views: [4, 5], room: 5 * 10 * elements }]);
    expect(input.views?.map(([group]) => group?.count)).toEqual([9, 10, 9, 10, 9]);
    expect(input.images).toHaveLength(47 * elements);
    expect([input.images.at(-1), [...input.labels]]).toEqual([8, run(4, 5)]);
  });

  it('gives its memory back', async () => {
    const made = await prepared('train', shards);
    expect(made.buffers.lent).toBe(1);
    made.release();
    expect(made.buffers.lent).toBe(0);
  });
});
