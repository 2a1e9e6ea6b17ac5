// Owns: small job specs that every system test can afford, each with an epoch that does not divide evenly.
// Refuses to know: what is done with them.

export interface SpecOptions {
  readonly architecture?: string;
  readonly steps?: number;
  readonly training?: object;
  /** Fields beside `training`. */
  readonly rest?: object;
}

/**
 * 209 synthetic images in batches of 48 and shards of 16: the fifth mini-batch of an epoch has 17 samples, whose second
 * shard would have a single one and therefore joins the first.
 */
export function syntheticSpec({ architecture = 'resnet8', steps = 12, training, rest }: SpecOptions = {}): object {
  return {
    model: { architecture },
    dataset: { kind: 'synthetic', size: 209, testSize: 40, classes: 10, imageSize: 32 },
    training: {
      steps,
      batchSize: 48,
      shardSize: 16,
      schedule: { kind: 'constant', learningRate: 0.05 },
      ...training,
    },
    evaluation: { everyEpochs: 0 },
    checkpoint: { everySteps: 0 },
    ...rest,
  };
}

/** Steps of `syntheticSpec`'s epochs. */
export const syntheticStepsPerEpoch = 5;

/** The real images and augmentation, for a few steps. */
export function cifarSpec({ architecture = 'resnet20', steps = 6, training, rest }: SpecOptions = {}): object {
  return {
    model: { architecture },
    dataset: { kind: 'cifar10', augmentation: 'pad-crop' },
    training: { steps, batchSize: 128, shardSize: 32, ...training },
    evaluation: { everyEpochs: 0 },
    checkpoint: { everySteps: 0 },
    ...rest,
  };
}

/** Runs until it is stopped. */
export function endlessSpec(options: SpecOptions = {}): object {
  return syntheticSpec({ steps: 1_000_000, ...options });
}
