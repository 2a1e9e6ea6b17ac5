// The process's log: pino's JSON lines, or short readable lines where a person sits at a terminal.
// Refuses to know who logs what.
import { pino, stdSerializers } from 'pino';
import type { DestinationStream, Logger } from 'pino';
import type { LogLevel } from './config.js';

export type { Logger } from 'pino';

/** Lines go to `out`, standard error unless given: standard output belongs to what commands print. */
export function createLogger(level: LogLevel, out: NodeJS.WriteStream = process.stderr): Logger {
  const destination: DestinationStream = out.isTTY ? { write: (line) => out.write(readable(line)) } : out;
  const options = { level, base: null, serializers: { err: stdSerializers.err }, formatters: { level: levelName } };
  return pino({ ...options, timestamp: pino.stdTimeFunctions.isoTime }, destination);
}

function levelName(label: string): { level: string } {
  return { level: label };
}

/** `12:00:01.123 info  started port=8080`; an error's stack follows on lines of its own. */
function readable(line: string): string {
  const { time, level, msg, err, ...fields } = JSON.parse(line) as {
    time: string;
    level: string;
    msg?: string;
    err?: { stack?: string };
  };
  const pairs = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  const head = [time.slice(11, 23), level.padEnd(5), msg ?? '', ...pairs].filter((part) => part !== '').join(' ');
  return err?.stack === undefined ? `${head}\n` : `${head}\n${err.stack}\n`;
}

function plain(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
