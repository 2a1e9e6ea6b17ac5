// `export`: a net goes to a file that other programs read.
// Refuses to know the formats.
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { exportSafetensors } from '#model/exchange/safetensors-export.js';
import { exportSavedModel } from '#model/exchange/saved-model-export.js';
import type { StoredModel } from '#model/exchange/stored-model.js';
import { CommandFailed, exitCodes, sentenceOf, WrongUsage } from '../exit.js';
import { formatCount } from '../format.js';
import { printJson, printLines, tell } from '../output.js';
import { storedModelAt } from '../stored-models.js';

export interface ExportOptions {
  readonly checkpoint: string;
  readonly format: 'safetensors' | 'savedmodel';
  readonly out?: string;
  readonly architecture?: string;
  readonly json?: boolean;
}

/** Standard output holds the path of what was written (or JSON), nothing else. */
export async function exportModel(options: ExportOptions): Promise<number> {
  const { checkpoint, format, architecture } = options;
  const stored = storedModelAt(checkpoint, architecture);
  const out = path.resolve(options.out ?? defaultName(stored, format));
  if (existsSync(out)) throw new WrongUsage(`${out} is there already; name another place with --out.`);
  const { bytes } = written(out, () => (format === 'safetensors' ? exportSafetensors : exportSavedModel)(stored, out));
  if (options.json === true) {
    printJson({ path: out, format, bytes, architecture: stored.model.architecture });
  } else {
    tell(
      `${stored.model.architecture} of ${formatCount(stored.parameters.length)} parameters, ${formatCount(bytes)} bytes`,
    );
    printLines([out]);
  }
  return exitCodes.good;
}

function written<Result>(out: string, write: () => Result): Result {
  try {
    mkdirSync(path.dirname(out), { recursive: true });
    return write();
  } catch (error) {
    throw new CommandFailed(`${out} cannot be written: ${sentenceOf(error)}; choose another place with --out.`, {
      cause: error,
    });
  }
}

function defaultName({ model, manifest }: StoredModel, format: ExportOptions['format']): string {
  const step = manifest === undefined ? '' : `-step-${manifest.step}`;
  return `${model.architecture}${step}${format === 'safetensors' ? '.safetensors' : '-savedmodel'}`;
}
