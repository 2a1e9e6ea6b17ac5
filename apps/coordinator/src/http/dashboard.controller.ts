// The dashboard's static files: open to all, as they hold no data; what they call is not.
// Refuses to answer for paths that are no page of it: those are 404s.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Controller, Get, Inject, Param, Res } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import type { Response } from 'express';
import { Access } from './access-guard.js';
import { sendFile } from './file-response.js';
import { HttpProblem } from './problems.js';
import { DASHBOARD_DIR } from './tokens.js';

/** Names under assets/ carry a hash of what they hold. */
const FOREVER = 'public, max-age=31536000, immutable';

@ApiExcludeController()
@Controller()
export class DashboardController {
  private readonly topLevelFiles: ReadonlySet<string>;

  constructor(@Inject(DASHBOARD_DIR) private readonly directory: string) {
    this.topLevelFiles = new Set(filesIn(directory));
  }

  /** Pages that the dashboard tells apart itself. */
  @Get(['/', 'jobs/:id'])
  @Access('open')
  async page(@Res() response: Response): Promise<void> {
    if (!this.topLevelFiles.has('index.html')) {
      throw new HttpProblem('not-found', 'The dashboard has not been built; `npm run build` does it.');
    }
    await sendFile(response, join(this.directory, 'index.html'), { cacheControl: 'no-cache' });
  }

  @Get('assets/:name')
  @Access('open')
  async asset(@Param('name') name: string, @Res() response: Response): Promise<void> {
    if (!/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/.test(name)) throw new HttpProblem('not-found', 'There is no such file.');
    await sendFile(response, join(this.directory, 'assets', name), { cacheControl: FOREVER });
  }

  @Get(':name')
  @Access('open')
  async topLevelFile(@Param('name') name: string, @Res() response: Response): Promise<void> {
    if (!this.topLevelFiles.has(name))
      throw new HttpProblem('not-found', `There is nothing at /${name}; /docs lists what there is.`);
    await sendFile(response, join(this.directory, name), { cacheControl: 'no-cache' });
  }
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []; // not built: the API works without it
    throw error;
  }
}
