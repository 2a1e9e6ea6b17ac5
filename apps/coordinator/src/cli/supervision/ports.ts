// TCP ports of this machine: whether one is free, and which to take instead.
// Refuses to know who will listen there. A port that is free now may be taken a moment later: the listener has the last word.
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const RETRY_MS = 50;
const HIGHEST_PORT = 65_535;

/** Whether somebody could listen there now. Throws where the address itself cannot be used (`EADDRNOTAVAIL`, `EACCES`, …). */
export async function isPortFree(host: string, port: number): Promise<boolean> {
  try {
    await bind(host, port);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
      return false;
    }
    throw error;
  }
}

/** Like `isPortFree`, but gives a process that is just ending there up to `patienceMs` to let go. */
export async function becomesFree(host: string, port: number, patienceMs: number): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  while (!(await isPortFree(host, port))) {
    if (performance.now() > deadline) {
      return false;
    }
    await sleep(RETRY_MS);
  }
  return true;
}

/** Any free port. */
export async function anyFreePort(host: string): Promise<number> {
  return bind(host, 0);
}

/** First of `count` free ports in a row: at `preferred` if they are free there, else wherever the system finds some. */
export async function freePortRange(host: string, preferred: number, count: number): Promise<number> {
  let first = preferred;
  for (let tries = 0; tries < 50; tries += 1) {
    if (first + count - 1 <= HIGHEST_PORT && (await areFree(host, first, count))) {
      return first;
    }
    first = await anyFreePort(host);
  }
  throw new Error(`No ${count} free ports in a row were found on ${host}.`);
}

/** Whether all of `count` ports from `first` on are free. */
async function areFree(host: string, first: number, count: number): Promise<boolean> {
  for (let port = first; port < first + count; port += 1) {
    if (!(await isPortFree(host, port))) {
      return false;
    }
  }
  return true;
}

/** Listens for a moment; the port that it had. */
function bind(host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      const address = server.address();
      const taken = typeof address === 'object' && address !== null ? address.port : port;
      server.close(() => resolve(taken));
    });
  });
}
