// Lets Nest write into our log. Its start-up chatter is for level trace.
// Refuses to change what is said.
import type { LoggerService } from '@nestjs/common';
import type { Logger } from '../log.js';

export function nestLogger(logger: Logger): LoggerService {
  const write =
    (level: 'trace' | 'warn' | 'error' | 'fatal') =>
    (message: unknown, ...rest: unknown[]) => {
      const context = rest.at(-1);
      const source = typeof context === 'string' ? { context } : {};
      if (message instanceof Error) logger[level]({ ...source, err: message }, message.message);
      else logger[level](source, typeof message === 'string' ? message : JSON.stringify(message));
    };
  return {
    log: write('trace'),
    debug: write('trace'),
    verbose: write('trace'),
    warn: write('warn'),
    error: write('error'),
    fatal: write('fatal'),
  };
}
