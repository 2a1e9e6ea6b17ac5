// Security headers: a content policy that lets the dashboard and the API's page work, and nothing else.
// Refuses to know routes beyond /docs.
import helmet from 'helmet';
import type { NextFunction, Request, RequestHandler, Response } from 'express';

const strictest = {
  'default-src': ["'self'"],
  'connect-src': ["'self'"],
  'img-src': ["'self'", 'data:'],
  'object-src': ["'none'"],
  'base-uri': ["'none'"],
  'form-action': ["'self'"],
  'frame-ancestors': ["'none'"],
};

export function securityHeaders(): RequestHandler {
  const everywhere = protection(strictest);
  // Swagger's page has <style> elements of its own; scripts stay files of this origin there too.
  const onDocs = protection({ ...strictest, 'style-src': ["'self'", "'unsafe-inline'"] });
  return (request: Request, response: Response, next: NextFunction) => {
    const chosen = /^\/docs(\/|$)/.test(request.path) ? onDocs : everywhere;
    chosen(request, response, next);
  };
}

function protection(directives: Record<string, string[]>): ReturnType<typeof helmet> {
  return helmet({
    contentSecurityPolicy: { useDefaults: false, directives },
    strictTransportSecurity: false, // it binds a host name, with all its other ports, for a year: not ours to say
    referrerPolicy: { policy: 'no-referrer' },
  });
}
