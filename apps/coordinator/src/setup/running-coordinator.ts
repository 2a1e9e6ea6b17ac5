// Whether it is a Lockstep that holds a port of this machine.
// Refuses to know what is concluded from it, and how a coordinator is started.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';

const answerTimeoutMs = 3_000;
const mostBytes = 10_000;

/** What a coordinator says of itself at `/health/ready`; undefined where nothing, or another program, answers. */
export async function askCoordinator(
  host: string,
  port: number,
  secure: boolean,
): Promise<'ready' | 'not ready' | undefined> {
  const answer = await ask(host, port, secure);
  const { status, type } = asFields(answer?.body);
  if (answer?.code === 200 && status === 'ready') return 'ready';
  return answer?.code === 503 && type === 'urn:lockstep:problem:unavailable' ? 'not ready' : undefined;
}

interface Answer {
  readonly code: number | undefined;
  readonly body: unknown;
}

function ask(host: string, port: number, secure: boolean): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    // The certificate may be made out to another name; nothing secret is sent.
    const request = (secure ? httpsRequest : httpRequest)(
      {
        host: reachable(host),
        port,
        path: '/health/ready',
        agent: false,
        ...(secure && { rejectUnauthorized: false }),
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (piece: string) => {
          text += piece;
          if (text.length > mostBytes) request.destroy();
        });
        response.once('error', () => resolve(undefined));
        response.once('end', () => resolve({ code: response.statusCode, body: parsed(text) }));
      },
    );
    // Of the whole exchange, so that a program which dribbles does not hold us.
    const timer = setTimeout(() => request.destroy(), answerTimeoutMs);
    request.once('close', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    request.once('error', () => resolve(undefined));
    request.end();
  });
}

/** Who listens on all addresses is asked at one of them. */
function reachable(host: string): string {
  return host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Whoever answers in another way is no coordinator.
    return undefined;
  }
}

function asFields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
