// Who may do what: bearer tokens, roles, and, where no token is asked for, who counts as this machine.
// Refuses to know routes; each says what it needs by `@Access`.
import { createHash, timingSafeEqual } from 'node:crypto';
import { isLoopback } from '../addresses.js';
import { roles } from '../config.js';
import type { CoordinatorConfig, Role } from '../config.js';
import { HttpProblem } from './problems.js';

/** `open`: nothing; `worker`: the worker token, or an admin's; else the role that is enough. */
export type Need = 'open' | 'worker' | Role;

/** What the decision looks at. */
export interface AccessRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

type Holder = Role | 'worker';

export class AccessControl {
  private readonly known: readonly { readonly digest: Buffer; readonly holder: Holder }[];
  private readonly advertisedHost: string;
  private readonly openApi: boolean;

  constructor(config: Pick<CoordinatorConfig, 'apiTokens' | 'workerToken' | 'advertisedHost'>) {
    const worker = config.workerToken === undefined ? [] : [{ token: config.workerToken, role: 'worker' as const }];
    const all: readonly { token: string; role: Holder }[] = [...config.apiTokens, ...worker];
    this.known = all.map(({ token, role }) => ({ digest: digestOf(token), holder: role }));
    this.advertisedHost = config.advertisedHost;
    this.openApi = config.apiTokens.length === 0;
  }

  /** Returns when the request may go on; throws an `HttpProblem` (401, 403) when not. */
  check(request: AccessRequest, need: Need): void {
    if (need === 'open') return;
    const tokenNeeded = need === 'worker' ? this.known.length > 0 : !this.openApi;
    if (!tokenNeeded) {
      this.checkLocal(request);
      return;
    }
    const holder = this.holderOf(request);
    if (!suffices(holder, need)) {
      throw new HttpProblem(
        'forbidden',
        `This needs ${described(need)}; the token that was sent is ${described(holder)}.`,
      );
    }
  }

  private holderOf(request: AccessRequest): Holder {
    const header = request.headers['authorization'];
    const token = typeof header === 'string' ? /^Bearer +(\S+)$/i.exec(header)?.[1] : undefined;
    if (token === undefined) throw unauthenticated('Send a token: Authorization: Bearer <token>.', '');
    const digest = digestOf(token);
    let holder: Holder | undefined;
    // All are compared, each in constant time, so that the time taken tells nothing about any of them.
    for (const entry of this.known) {
      if (timingSafeEqual(entry.digest, digest)) holder = entry.holder;
    }
    if (holder === undefined)
      throw unauthenticated('The token is not one that this coordinator knows.', ', error="invalid_token"');
    return holder;
  }

  /**
   * Without tokens only this machine may ask, and a browser on it is asked by every page on the web. So the name in the address
   * must be this machine's (a foreign name that resolves to 127.0.0.1 is an attack), and a change must come from our own page.
   */
  private checkLocal(request: AccessRequest): void {
    const host = String(request.headers['host'] ?? '');
    const name = hostName(host);
    if (!isLoopback(name) && name !== this.advertisedHost) {
      const message =
        'Without tokens the API answers on this machine only; set LOCKSTEP_API_TOKENS to use it under another name.';
      throw new HttpProblem('forbidden', message);
    }
    const { origin } = request.headers;
    const changes = request.method !== 'GET' && request.method !== 'HEAD';
    if (changes && typeof origin === 'string' && originHost(origin) !== host) {
      throw new HttpProblem('forbidden', 'Pages of other origins may not change anything here.');
    }
  }
}

function suffices(holder: Holder, need: Exclude<Need, 'open'>): boolean {
  if (need === 'worker') return holder === 'worker' || holder === 'admin';
  return holder !== 'worker' && roles.indexOf(holder) >= roles.indexOf(need);
}

function described(holder: Holder): string {
  return holder === 'worker' ? 'the worker token' : `a token with the role ${holder}`;
}

function unauthenticated(message: string, parameters: string): HttpProblem {
  const headers = { 'WWW-Authenticate': `Bearer realm="lockstep"${parameters}` };
  return new HttpProblem('unauthenticated', message, { headers });
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** `[::1]:8080` -> `::1`, `localhost:8080` -> `localhost`. */
function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}

function originHost(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
