// Sends a file with ranges, ETag and conditional requests.
// Refuses to decide which files may be sent.
import type { Response } from 'express';
import { HttpProblem } from './problems.js';

export interface FileOptions {
  /** @default private, no-cache: kept by the client, and asked about (ETag) before each use */
  readonly cacheControl?: string;
}

/**
 * Resolves when the file is sent or the client has gone.
 * @throws HttpProblem 404 for a file that is not there; http-errors' 416 for a range outside it
 */
export async function sendFile(response: Response, path: string, options: FileOptions = {}): Promise<void> {
  response.set('Cache-Control', options.cacheControl ?? 'private, no-cache');
  // Node's fetch sends `no-cache` along with every If-None-Match, which Express takes for "never answer 304". It is meant for
  // caches on the way; whoever owns the file may always say that it has not changed.
  delete response.req.headers['cache-control'];
  try {
    await new Promise<void>((resolve, reject) => {
      const settled = (error?: Error): void => (error === undefined || error === null ? resolve() : reject(error));
      response.sendFile(path, { cacheControl: false, dotfiles: 'allow', lastModified: true }, settled);
    });
  } catch (error) {
    if (hasGone(error)) return;
    response.removeHeader('Content-Disposition');
    if (isMissing(error)) throw new HttpProblem('not-found', 'There is no such file.');
    throw error;
  }
}

function hasGone(error: unknown): boolean {
  return ['ECONNABORTED', 'EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE'].includes(codeOf(error));
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'EISDIR'].includes(codeOf(error));
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException).code);
}
