// Dataset files for workers on other hosts.
// Refuses to leave <data dir>/datasets and CIFAR-10's folder in the cache, and to list what is in it.
import { existsSync } from 'node:fs';
import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { CIFAR10_FOLDER } from '#model/datasets/cifar10-files.js';
import { Controller, Get, Inject, Param, Res } from '@nestjs/common';
import { ApiParam, ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import type { CoordinatorConfig } from '../config.js';
import { sendFile } from './file-response.js';
import { Operation } from './operation.js';
import { HttpProblem } from './problems.js';
import { CONFIG } from './tokens.js';

@ApiTags('datasets')
@Controller('api/v1/datasets')
export class DatasetsController {
  private readonly root: string;
  /** Where CIFAR-10 is that Lockstep has fetched. */
  private readonly fetched: string;

  constructor(@Inject(CONFIG) config: Pick<CoordinatorConfig, 'dataDir' | 'cacheDir'>) {
    this.root = join(config.dataDir, 'datasets');
    this.fetched = join(config.cacheDir, 'datasets');
  }

  @Get('*path')
  @ApiParam({ name: 'path', description: 'Path of a file under <data dir>/datasets; CIFAR-10 may be in the cache' })
  @Operation({
    summary: 'Download a file of a dataset',
    description: 'Ranges and conditional requests (ETag) are understood. Needs the worker token.',
    access: 'worker',
    answers: {
      200: { description: 'The file', mediaType: 'application/octet-stream' },
      206: { description: 'The range that was asked for', mediaType: 'application/octet-stream' },
      304: { description: 'Not changed' },
    },
    problems: ['not-found', 'range-not-satisfiable'],
  })
  async file(@Param('path') path: string | string[], @Res() response: Response): Promise<void> {
    const parts = Array.isArray(path) ? path : path.split('/');
    await sendFile(response, await fileWithin(this.rootOf(parts[0]), parts));
  }

  private rootOf(dataset: string | undefined): string {
    return dataset === CIFAR10_FOLDER && !existsSync(join(this.root, dataset)) ? this.fetched : this.root;
  }
}

/**
 * The real path of a regular file under `root`. The first part may be a link, as a person puts one to mount a large dataset;
 * links further down, such as an archive could bring along, must not lead out of it and of the datasets folder.
 * @throws HttpProblem 404 for everything else, whatever the cause: the difference is nobody's business
 */
async function fileWithin(root: string, parts: readonly string[]): Promise<string> {
  const missing = new HttpProblem('not-found', 'There is no such dataset file.');
  const [first, ...rest] = parts;
  if (first === undefined || !parts.every(isPlainName)) throw missing;
  let path: string;
  try {
    const dataset = await realpath(join(root, first));
    path = await realpath(join(dataset, ...rest));
    const roots = [dataset, await realpath(root)];
    const inside = path === dataset ? rest.length === 0 : roots.some((folder) => path.startsWith(folder + sep));
    if (!inside || !(await stat(path)).isFile()) throw missing;
  } catch {
    throw missing;
  }
  return path;
}

function isPlainName(part: string): boolean {
  return part !== '' && part !== '.' && part !== '..' && !/[/\\\0]/.test(part);
}
