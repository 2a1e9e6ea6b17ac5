import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { createLogger } from './log.js';

function logged(isTTY: boolean, write: (logger: ReturnType<typeof createLogger>) => void): string {
  const out = Object.assign(new PassThrough(), { isTTY });
  write(createLogger('info', out as unknown as NodeJS.WriteStream));
  return String(out.read() ?? '');
}

test('writes JSON lines with level and time by name', () => {
  const line = JSON.parse(logged(false, (logger) => logger.info({ port: 8080 }, 'started'))) as Record<string, unknown>;
  expect(line).toMatchObject({ level: 'info', port: 8080, msg: 'started' });
  expect(line['time']).toMatch(/^\d{4}-\d\d-\d\dT/);
});

test('writes readable lines to a terminal, stacks below', () => {
  const text = logged(true, (logger) => logger.error({ err: new Error('broken'), job: 'a b', step: 3 }, 'failed'));
  expect(text).toMatch(/^\d\d:\d\d:\d\d\.\d{3} error failed job="a b" step=3\nError: broken\n {4}at /);
});

test('leaves out what is below its level', () => {
  expect(logged(false, (logger) => logger.debug('quiet'))).toBe('');
});
