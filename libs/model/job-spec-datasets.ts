// Owns: the fields of every kind of dataset and of the order of samples: type, limits, meaning, unit and default.
// Refuses to know: the rest of the job spec, and whether the data is there.
import { z } from 'zod';
import { described, positive, between, whole, oneOf, seed } from './job-spec-fields.js';

const zeroByte = 'must not contain a zero byte';

/** A path relative to the datasets folder of the coordinator, without a way out of it. */
const datasetPath = () =>
  z
    .string('must be a path relative to the datasets folder')
    .min(1, 'must not be empty')
    .max(500, 'must have 500 characters or fewer')
    .refine(isRelative, 'must be relative to the datasets folder, not absolute')
    .refine(staysInside, "must stay inside the datasets folder: '..' is not allowed")
    .refine((path) => !path.includes('\0'), zeroByte);

/** A path like that, or a URL; braces stand for a range of numbers. */
const archivePattern = () =>
  z
    .string('must be a path relative to the datasets folder, or a URL')
    .min(1, 'must not be empty')
    .max(2000, 'must have 2000 characters or fewer')
    .refine(
      (path) => isArchiveUrl(path) || !path.includes('://'),
      'must be a path or a URL that starts with http://, https:// or s3://',
    )
    .refine((path) => isArchiveUrl(path) || isRelative(path), 'must be relative to the datasets folder, not absolute')
    .refine((path) => staysInside(isArchiveUrl(path) ? decoded(path) : path), "must not contain '..'")
    .refine(
      (path) => !/^[a-z0-9]+:\/\/[^/]*@/i.test(path),
      'must not hold a user name or password: set them where the coordinator is started',
    )
    .refine((path) => !path.includes('\0'), zeroByte);

/** Whether an archive is named by a URL rather than by a path. */
export function isArchiveUrl(pattern: string): boolean {
  return /^(https?|s3):\/\/[^/]/i.test(pattern);
}

function isRelative(path: string): boolean {
  return !/^([/\\]|[a-zA-Z]:)/.test(path);
}

function staysInside(path: string): boolean {
  return !path.split(/[/\\]/).includes('..');
}

function decoded(url: string): string {
  try {
    return decodeURIComponent(url);
  } catch {
    return url; // a stray per cent sign hides no dots
  }
}

const channels = (each: z.ZodNumber) => {
  const error = 'must be three numbers: red, green, blue';
  return z.array(each, error).length(3, error);
};

export const normalisationSchema = z.strictObject(
  {
    mean: described(channels(between(0, 1)), 'Mean per channel, of pixels scaled to [0, 1].'),
    std: described(channels(positive()), 'Standard deviation per channel, of pixels scaled to [0, 1].'),
  },
  'must be an object with mean and std',
);

const cifar10Shape = {
  kind: described(z.literal('cifar10'), 'CIFAR-10 in its standard binary form.'),
  path: described(
    datasetPath(),
    'Folder with data_batch_1.bin … test_batch.bin, relative to the datasets folder; fetched on first use if left at its default.',
    'cifar-10-batches-bin',
  ),
  augmentation: described(
    oneOf('pad-crop', 'none'),
    'pad-crop: 4 pixels of padding, a random 32x32 crop and a random mirror image; none: images as they are.',
    'pad-crop',
  ),
  normalisation: described(
    normalisationSchema,
    "Per-channel normalisation. Default: CIFAR-10's own mean and deviation.",
  ),
};

const syntheticShape = {
  kind: described(
    z.literal('synthetic'),
    'Images made on the fly from the seed: a pattern per class under noise; for benchmarks and tests.',
  ),
  size: described(whole(1, 1_000_000_000), 'Number of training images.', 4096),
  testSize: described(whole(1, 1_000_000_000), 'Number of test images. Default: a quarter of size, at most 1000.'),
  classes: described(whole(2, 100_000), 'Number of classes.', 10),
  imageSize: described(whole(8, 1024), 'Height and width of the images, in pixels.', 32),
  seed: described(seed(), 'Seed of the images, apart from that of the training.', 1),
  augmentation: described(oneOf('none'), 'Synthetic images are never augmented.', 'none'),
};

/** What all datasets of image files have in common. */
const imageFields = {
  classes: described(
    whole(2, 100_000),
    'Number of classes; what the images have must be the same. Default: what the index says, or model.classes.',
  ),
  imageSize: described(whole(8, 1024), 'Height and width of the images that the network sees, in pixels.', 224),
  augmentation: described(
    oneOf('paper', 'random-resized-crop', 'none'),
    'paper: shorter side random in [256, 480], a random crop, a random mirror image, colours shifted along their principal ' +
      'components (He et al. 2015); random-resized-crop: a crop of random area and shape, and a random mirror image; ' +
      'none: shorter side to 256, the crop in the middle.',
    'paper',
  ),
  normalisation: described(normalisationSchema, "Per-channel normalisation. Default: ImageNet's mean and deviation."),
  brokenFiles: described(
    oneOf('skip', 'fail'),
    'What to do about images that are broken or truncated: skip trains without them and says how many they are, fail does not start.',
    'skip',
  ),
};

const imagefolderShape = {
  kind: described(
    z.literal('imagefolder'),
    'Image files in train/<class>/ and val/<class>/, or in a flat val/ with a label file.',
  ),
  path: described(datasetPath(), 'Folder that holds train and val, relative to the datasets folder.'),
  ...imageFields,
};

const webdatasetShape = {
  kind: described(z.literal('webdataset'), 'Image files and their labels in tar archives, read without unpacking.'),
  train: described(
    archivePattern(),
    'Archives of training images: a path relative to the datasets folder, or an http, https or s3 URL below one that the ' +
      'coordinator allows; {000000..000146} stands for a range of numbers.',
  ),
  test: described(
    archivePattern().nullable(),
    'Archives of test images, named like those of train; null: none, and so no evaluation.',
    null,
  ),
  ...imageFields,
};

/** The fields by kind of dataset. */
export const datasetShapes = {
  cifar10: cifar10Shape,
  imagefolder: imagefolderShape,
  webdataset: webdatasetShape,
  synthetic: syntheticShape,
} as const;

const kindNames = Object.keys(datasetShapes);

export const datasetSchema = z.discriminatedUnion(
  'kind',
  [
    z.strictObject(cifar10Shape),
    z.strictObject(imagefolderShape),
    z.strictObject(webdatasetShape),
    z.strictObject(syntheticShape),
  ],
  `must be one of ${kindNames.join(', ')}`,
);

/** All fields of all kinds, for OpenAPI; which of them belong together is told in words. */
export const datasetInputSchema = z
  .strictObject({
    ...syntheticShape,
    ...webdatasetShape,
    ...imagefolderShape,
    path: described(
      datasetPath(),
      'Folder of the dataset, relative to the datasets folder. Default for cifar10: cifar-10-batches-bin, which is fetched on first use.',
    ),
    classes: described(
      whole(2, 100_000),
      'Number of classes. Default: 10 for synthetic; for files of images what their index says, or model.classes.',
    ),
    imageSize: described(whole(8, 1024), 'Height and width of the images, in pixels. Default: 224; 32 for synthetic.'),
    augmentation: described(
      oneOf('paper', 'random-resized-crop', 'pad-crop', 'none'),
      'How training images are varied. Default: paper for files of images, pad-crop for cifar10, none for synthetic.',
    ),
    normalisation: described(
      normalisationSchema,
      "Per-channel normalisation. Default: ImageNet's mean and deviation; CIFAR-10's own for cifar10.",
    ),
    kind: oneOf('cifar10', 'imagefolder', 'webdataset', 'synthetic').describe('Kind of dataset.'),
  })
  .partial()
  .describe(
    'The images. path belongs to cifar10 and imagefolder; train and test to webdataset; brokenFiles to these two of image files; ' +
      'size, testSize and seed to synthetic; classes and imageSize to all but cifar10, normalisation to all but synthetic.',
  );

export const shuffleShapes = {
  global: {
    kind: described(
      z.literal('global'),
      'global: each epoch visits all samples in the order of one keyed permutation; block: blocks of consecutive samples ' +
        'are permuted, then the samples within each window of blocks, which suits archives that are read over a network.',
      'global',
    ),
  },
  block: {
    kind: z.literal('block'),
    blockSamples: described(whole(1, 100_000_000), 'Consecutive samples that stay together as a block.', 1024),
    windowBlocks: described(whole(1, 100_000), 'Blocks whose samples are mixed with each other.', 16),
  },
} as const;

const shuffleKinds = 'must be one of global, block';

export const shuffleSchema = z.discriminatedUnion(
  'kind',
  [z.strictObject(shuffleShapes.global, 'must be an object'), z.strictObject(shuffleShapes.block, 'must be an object')],
  shuffleKinds,
);

export const shuffleInputSchema = z
  .strictObject({
    ...shuffleShapes.block,
    kind: described(oneOf('global', 'block'), shuffleShapes.global.kind.description!, 'global'),
  })
  .partial()
  .describe('The order of samples. blockSamples and windowBlocks belong to block.');
