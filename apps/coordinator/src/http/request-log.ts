// One line per request, at level debug.
// Refuses to log headers, queries and bodies: they may hold secrets.
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { Logger } from '../log.js';

export function requestLog(logger: Logger): RequestHandler {
  return (request: Request, response: Response, next: NextFunction) => {
    if (logger.isLevelEnabled('debug')) {
      const started = performance.now();
      const { method, path } = request;
      response.once('close', () => {
        const milliseconds = Math.round(performance.now() - started);
        logger.debug({ method, path, status: response.statusCode, milliseconds }, 'request');
      });
    }
    next();
  };
}
