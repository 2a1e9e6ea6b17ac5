// How more workers join a system that `up` has started, as a sentence with the command to copy.
// Refuses to know how the system was started; shows no password.
import { bracketed, isLoopback } from '../addresses.js';

export interface JoinFacts {
  readonly grpcHost: string;
  readonly grpcPort: number;
  readonly redisUrl: string;
  /** Whether workers need LOCKSTEP_WORKER_TOKEN. */
  readonly withToken: boolean;
}

/** Where workers look unless they are told otherwise (LOCKSTEP_COORDINATOR). */
const usualPort = 50051;

export function joinText(facts: JoinFacts): string {
  const { grpcHost, grpcPort } = facts;
  if (isLoopback(grpcHost)) return `more workers on this machine: ${command(facts)}`;
  const elsewhere = `workers elsewhere join at ${grpcHost}:${grpcPort}`;
  return onlyHere(facts.redisUrl) ? `${elsewhere} once REDIS_URL names a Redis that they reach, too` : elsewhere;
}

function command({ grpcHost, grpcPort, redisUrl, withToken }: JoinFacts): string {
  const host = bracketed(grpcHost);
  const settings = [`REDIS_URL=${shown(redisUrl)}`];
  if (host !== '127.0.0.1' || grpcPort !== usualPort) settings.push(`LOCKSTEP_COORDINATOR=${host}:${grpcPort}`);
  if (withToken) settings.push('LOCKSTEP_WORKER_TOKEN=…');
  return `${settings.join(' ')} npx lockstep worker`;
}

/** One with a password is in the user's own environment. */
function shown(redisUrl: string): string {
  const url = parsed(redisUrl);
  return url === undefined || url.password !== '' || url.username !== '' ? '…' : redisUrl;
}

function onlyHere(redisUrl: string): boolean {
  const url = parsed(redisUrl);
  return url !== undefined && isLoopback(url.hostname.replace(/^\[|\]$/g, ''));
}

function parsed(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined;
}
