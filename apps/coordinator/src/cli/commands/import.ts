// `import`: a file of another library becomes a checkpoint.
// Refuses to know names and layouts of other libraries.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { CheckpointError } from '#model/checkpoint.js';
import { writeImportedCheckpoint } from '#model/exchange/imported-checkpoint.js';
import { loadConfig } from '../../config.js';
import { CommandFailed, exitCodes, sentenceOf, WrongUsage } from '../exit.js';
import { formatCount } from '../format.js';
import { printJson, printLines, tell } from '../output.js';
import { storedModelAt } from '../stored-models.js';
import { packageVersion } from '../version.js';

export interface ImportOptions {
  readonly out?: string;
  readonly architecture?: string;
  readonly json?: boolean;
}

/** Standard output holds the checkpoint's folder (or JSON), nothing else. */
export async function importModel(
  file: string,
  options: ImportOptions,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const stored = storedModelAt(file, options.architecture);
  const name = path.basename(file, '.safetensors');
  const folder = path.resolve(options.out ?? path.join(loadConfig(environment).dataDir, 'imported', name));
  if (existsSync(path.join(folder, 'step-00000000')))
    throw new WrongUsage(`${folder} holds a checkpoint already; name another folder with --out.`);
  const { path: checkpoint, manifest } = checkpointOf(() =>
    writeImportedCheckpoint(stored, folder, name, {
      versions: { lockstep: packageVersion(), node: process.versions.node },
      createdAt: new Date().toISOString(),
    }),
  );
  const { architecture, classes } = stored.model;
  if (options.json === true) {
    const { parametersSha256 } = manifest;
    printJson({ path: checkpoint, architecture, classes, names: stored.library, parametersSha256 });
  } else {
    tell(
      `${architecture} with ${formatCount(classes)} classes and ${formatCount(stored.parameters.length)} parameters, by ${stored.library}'s names`,
    );
    printLines([checkpoint]);
  }
  return exitCodes.good;
}

function checkpointOf<Result>(write: () => Result): Result {
  try {
    return write();
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw new CommandFailed(`${sentenceOf(error)}.`, { cause: error });
  }
}
