// Turns every error into a problem document on the wire, and logs those that nobody foresaw.
// Refuses to decide what an error means: that is the table in problems.ts.
import { Catch, Inject } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import type { Request, Response } from 'express';
import type { Logger } from '../log.js';
import { HttpProblem, problemOf } from './problems.js';
import { LOGGER } from './tokens.js';

@Catch()
export class ProblemFilter implements ExceptionFilter {
  constructor(@Inject(LOGGER) private readonly logger: Logger) {}

  catch(error: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    const request = http.getRequest<Request>();
    const response = http.getResponse<Response>();
    const { kind, document, headers } = problemOf(unknownRoute(error, request) ?? error);
    if (kind === 'internal') {
      this.logger.error({ err: error, method: request.method, path: request.path }, 'a request failed unexpectedly');
    }
    if (response.headersSent) {
      // The status is gone; only a broken stream still tells the client that what it got is not whole.
      response.destroy();
      return;
    }
    response.status(document.status).set(headers).set('Cache-Control', 'no-store').removeHeader('ETag');
    response.type('application/problem+json').send(JSON.stringify(document));
  }
}

/** Nest says "Cannot GET /x" for a path that no controller has. */
function unknownRoute(error: unknown, request: Request): HttpProblem | undefined {
  const isUnknown = error instanceof Error && error.message === `Cannot ${request.method} ${request.url}`;
  return isUnknown
    ? new HttpProblem('not-found', `There is nothing at ${request.method} ${request.path}; /docs lists what there is.`)
    : undefined;
}
