// `evaluate --url`: the pool evaluates a checkpoint, as a job without steps that starts from its weights.
// Refuses to know how the job is carried out.
import path from 'node:path';
import { CheckpointError, listCheckpoints, readManifest, type CheckpointManifest } from '#model/checkpoint.js';
import { loadConfig } from '../../config.js';
import type { JobView } from '../../jobs/ports.js';
import { Api } from '../api.js';
import { clientSettings } from '../client-settings.js';
import { CommandFailed, exitCodes, sentenceOf, WrongUsage } from '../exit.js';
import { formatLoss, formatShare } from '../format.js';
import { printJson, printLines } from '../output.js';
import type { EvaluateOptions } from './evaluate.js';
import { followToEnd } from './watch.js';

/** The checkpoint must lie in the data folder, which this machine and the coordinator share. */
export async function evaluateInPool(
  url: string,
  options: EvaluateOptions,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const [checkpoint, ...more] = options.checkpoint;
  if (checkpoint === undefined || more.length > 0)
    throw new WrongUsage('Name one checkpoint with --checkpoint; several are averaged without --url only.');
  const api = new Api(clientSettings(environment, url));
  const { id } = await api.submit(specFor(checkpoint, options, environment));
  const code = await followToEnd(api, id, process.stderr);
  if (code !== exitCodes.good) return code;
  const job = await api.job(id);
  if (options.json === true) printJson(asJson(checkpoint, job));
  else printLines([asText(job)]);
  return exitCodes.good;
}

function specFor(checkpoint: string, options: EvaluateOptions, environment: NodeJS.ProcessEnv): object {
  const { dataDir } = loadConfig(environment);
  const folder = listCheckpoints(checkpoint).at(-1)?.path ?? path.resolve(checkpoint);
  const weights = path.relative(dataDir, folder);
  if (weights.startsWith('..'))
    throw new WrongUsage(`${folder} is not in the data folder ${dataDir}; the pool evaluates what lies there.`);
  const { spec, parametersSha256 } = manifestOf(folder);
  const { precision, shardSize } = spec.training;
  return {
    name: `evaluation of ${weights}`.slice(0, 100),
    model: spec.model,
    dataset: datasetFor(options.dataset) ?? spec.dataset,
    initialWeights: { path: weights, head: 'keep', sha256: parametersSha256 },
    training: {
      steps: 0,
      precision,
      shardSize: options.batchSize ?? shardSize,
      batchSize: options.batchSize ?? shardSize,
    },
    evaluation: { everyEpochs: 1, crops: Number(options.crops), scales: options.scales ?? [] },
    checkpoint: { everySteps: 0, keep: 1 },
  };
}

/** The coordinator knows datasets by their spec, not by folders of this machine. */
function datasetFor(named: string | undefined): unknown {
  if (named === undefined) return undefined;
  if (named === 'cifar10' || named === 'synthetic') return { kind: named };
  try {
    return JSON.parse(named);
  } catch (error) {
    throw new WrongUsage('--dataset with --url: it must be cifar10, synthetic, or the dataset of a job spec as JSON.', {
      cause: error,
    });
  }
}

function manifestOf(folder: string): CheckpointManifest {
  try {
    return readManifest(folder);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw new CommandFailed(`${sentenceOf(error)}.`, { cause: error });
  }
}

function asJson(checkpoint: string, { id, spec, test }: JobView): object {
  const { crops, scales } = spec.evaluation;
  const { loss = null, top1 = null, top5 = null } = test ?? {};
  return { checkpoints: [checkpoint], job: id, dataset: spec.dataset.kind, crops, scales, loss, top1, top5 };
}

function asText({ test }: JobView): string {
  return `loss ${formatLoss(test?.loss)}, top-1 ${formatShare(test?.top1)}, top-5 ${formatShare(test?.top5)}`;
}
