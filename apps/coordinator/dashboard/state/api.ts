// Calls to the coordinator's REST interface with the token that was typed in, and errors as one sentence.
// Refuses to know what is shown.
import { signal } from '@preact/signals';

const TOKEN_KEY = 'lockstep-token';
const CALL_TIMEOUT_MS = 20_000;

/** null: none was needed so far. Kept for this tab only. */
export const token = signal<string | null>(sessionStorage.getItem(TOKEN_KEY));
/** Why a token is asked for, or null while none is. */
export const tokenWanted = signal<'missing' | 'wrong' | null>(null);

/** Something the coordinator refused, in its own words. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export function giveToken(value: string): void {
  sessionStorage.setItem(TOKEN_KEY, value);
  token.value = value;
  tokenWanted.value = null;
}

/** Fetches `/api/v1<path>`; asks for a token on 401. @throws ApiError unless the answer is good. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const sent = token.value;
  if (sent !== null) {
    headers.set('Authorization', `Bearer ${sent}`);
  }
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { ...init, headers, cache: 'no-store' });
  } catch (error) {
    if (init.signal?.aborted === true) {
      throw error;
    }
    throw new ApiError('The coordinator cannot be reached.', 0);
  }
  if (response.status === 401 && token.value === sent) {
    tokenWanted.value = sent === null ? 'missing' : 'wrong';
  }
  if (!response.ok) {
    throw new ApiError(await problemText(response), response.status);
  }
  return response;
}

export async function getJson<T>(path: string): Promise<T> {
  const response = await request(path, { signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
  return (await response.json()) as T;
}

export async function post(path: string): Promise<void> {
  await request(path, { method: 'POST', signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
}

/** The detail of an RFC 9457 problem document, or what else there is. */
async function problemText(response: Response): Promise<string> {
  const text = await response.text();
  if (response.headers.get('content-type')?.includes('json') === true) {
    const problem = JSON.parse(text) as { detail?: unknown; title?: unknown };
    for (const words of [problem.detail, problem.title]) {
      if (typeof words === 'string' && words !== '') {
        return words;
      }
    }
  }
  return `The coordinator answered ${response.status} ${response.statusText}`.trim();
}
