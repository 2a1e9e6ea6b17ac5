// Where the coordinator is and with which token to ask it, from options and the environment that `main.ts` hands over.
// Refuses to know the server's own settings: those are `config.ts`'s.
import { WrongUsage } from './exit.js';

/** What the client side reads of the environment. */
export type ClientEnvironment = Readonly<
  Partial<
    Record<'LOCKSTEP_URL' | 'LOCKSTEP_HTTP_PORT' | 'LOCKSTEP_API_TOKEN' | 'LOCKSTEP_API_TOKENS', string | undefined>
  >
>;

export interface ClientSettings {
  /** Without a slash at its end, such as `http://127.0.0.1:8080`. */
  readonly baseUrl: string;
  readonly token: string | undefined;
}

const DEFAULT_HTTP_PORT = '8080';

/** `--url` wins over LOCKSTEP_URL, which wins over this machine's LOCKSTEP_HTTP_PORT. Throws `WrongUsage`. */
export function clientSettings(environment: ClientEnvironment, url: string | undefined): ClientSettings {
  const given = url ?? nonEmpty(environment.LOCKSTEP_URL);
  const source = url === undefined ? 'LOCKSTEP_URL' : '--url';
  return {
    baseUrl:
      given === undefined
        ? `http://127.0.0.1:${nonEmpty(environment.LOCKSTEP_HTTP_PORT) ?? DEFAULT_HTTP_PORT}`
        : normalisedUrl(given, source),
    token: nonEmpty(environment.LOCKSTEP_API_TOKEN) ?? firstAdminToken(environment.LOCKSTEP_API_TOKENS),
  };
}

function normalisedUrl(text: string, source: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new WrongUsage(`${source}: "${text}" is not an address such as http://127.0.0.1:8080.`);
  }
  return (url.origin + url.pathname).replace(/\/+$/, '');
}

/** On the coordinator's own machine the server's list is at hand: `role:token,…`; only an admin may do everything. */
function firstAdminToken(list: string | undefined): string | undefined {
  const admin = (list ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .find((entry) => entry.startsWith('admin:'));
  return nonEmpty(admin?.slice('admin:'.length));
}

function nonEmpty(text: string | undefined): string | undefined {
  const trimmed = text?.trim();
  return trimmed === '' ? undefined : trimmed;
}
