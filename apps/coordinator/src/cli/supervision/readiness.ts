// Waits until a coordinator says that it is ready.
// Refuses to know who started it.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 50;
const ANSWER_TIMEOUT_MS = 2_000;

/** Polls `<baseUrl>/health/ready` until it answers with 200; ends early, with false, when `signal` aborts. */
export async function untilReady(baseUrl: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if ((await statusOf(`${baseUrl}/health/ready`)) === 200) {
      return true;
    }
    await sleep(POLL_MS);
  }
  return false;
}

/** Undefined when nobody answers. */
function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const secure = url.startsWith('https:');
    // It is our own child on this machine whose certificate may be made out to another name; nothing secret is sent.
    const options = { timeout: ANSWER_TIMEOUT_MS, agent: false, ...(secure ? { rejectUnauthorized: false } : {}) };
    const request = (secure ? httpsRequest : httpRequest)(url, options, (response) => {
      response.resume();
      response.once('error', () => resolve(undefined));
      resolve(response.statusCode);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(undefined));
    request.end();
  });
}
