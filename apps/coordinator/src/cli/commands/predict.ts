// `predict`: the five likeliest classes of each image.
// Refuses to know formats of images and nets.
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { highest } from '#model/class-table.js';
import { classNamesOf, inputOf, type ModelInput } from '#model/exchange/model-input.js';
import type { StoredModel } from '#model/exchange/stored-model.js';
import { softmax } from '#model/view-scores.js';
import { CommandFailed, exitCodes, sentenceOf, WrongUsage } from '../exit.js';
import { formatShare } from '../format.js';
import { withNetworks } from '../networks.js';
import { outputWidth, printJson, printLines } from '../output.js';
import { storedModelAt } from '../stored-models.js';
import { renderTable } from '../table.js';

export interface PredictOptions {
  readonly checkpoint: string;
  readonly architecture?: string;
  readonly labels?: string;
  readonly threads: number;
  readonly json?: boolean;
}

interface Prediction {
  readonly image: string;
  readonly top: readonly { readonly index: number; readonly label: string; readonly probability: number }[];
}

const MOST = 5;

export async function predict(images: readonly string[], options: PredictOptions): Promise<number> {
  const absent = images.find((image) => !existsSync(image));
  if (absent !== undefined) throw new WrongUsage(`There is no image ${absent}.`);
  const stored = storedModelAt(options.checkpoint, options.architecture);
  const names = namesFor(stored, options.labels);
  const input = inputOf(stored);
  const predictions = await withNetworks([stored], options.threads, async ([network]) => {
    const made: Prediction[] = [];
    for (const image of images) {
      const scores = softmax(network!.predict(await pixelsOf(image, input), 1));
      const top = highest(scores, MOST).map((index) => ({
        index,
        label: names[index] ?? String(index),
        probability: scores[index]!,
      }));
      made.push({ image, top });
    }
    return made;
  });
  if (options.json === true) printJson(predictions);
  else printLines(predictions.flatMap((prediction, index) => [...(index > 0 ? [''] : []), ...linesOf(prediction)]));
  return exitCodes.good;
}

async function pixelsOf(image: string, { shorterSide, imageSize, mean, std }: ModelInput): Promise<Float32Array> {
  const { writeMiddle } = await import('#model/images/test-views.js');
  const out = new Float32Array(imageSize * imageSize * 3);
  try {
    await writeMiddle(await readFile(image), shorterSide, { imageSize, mean, std }, out);
  } catch (error) {
    throw new CommandFailed(`${image} ${sentenceOf(error)}; it must be a JPEG, PNG or another image that is whole.`, {
      cause: error,
    });
  }
  return out;
}

function namesFor(stored: StoredModel, file: string | undefined): readonly string[] {
  if (file === undefined) return classNamesOf(stored);
  let names: string[];
  try {
    names = readFileSync(file, 'utf8').trim().split(/\r?\n/);
  } catch (error) {
    throw new WrongUsage(`${file} cannot be read: ${sentenceOf(error)}`, { cause: error });
  }
  const { classes } = stored.model;
  if (names.length !== classes)
    throw new WrongUsage(`${file} has ${names.length} names, one a line; the net has ${classes} classes.`);
  return names;
}

function linesOf({ image, top }: Prediction): string[] {
  const columns = [
    { title: image, align: 'right' },
    { title: 'INDEX', align: 'right' },
    { title: 'CLASS', shrinkTo: 8 },
  ] as const;
  const rows = top.map(({ index, label, probability }) => [formatShare(probability), String(index), label]);
  return renderTable(columns, rows, outputWidth());
}
