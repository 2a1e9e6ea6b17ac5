// A Valkey for one test system: in a container where a Docker engine answers, else the local binary that set-up found.
// Refuses to use one that is running already: what a test does to its Valkey must touch nobody else.
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../apps/coordinator/src/config.js';
import { freePort, startValkey } from '../../apps/coordinator/src/setup/valkey.js';
import { findValkey } from '../../apps/coordinator/src/setup/valkey-binary.js';

export interface TestValkey {
  /** `redis://HOST:PORT`; stays the same over restarts. */
  readonly url: string;
  /** Stops it answering without closing a connection, until `resume`. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Ends it at once and starts it again on the same port; all that it held is lost. */
  restart(): Promise<void>;
  /** May be called in any state, also twice. */
  stop(): Promise<void>;
}

const image = 'valkey/valkey:8-alpine';
const containerPort = 6379;

/** A Valkey of the caller's own. Throws with what to do where there is neither a Docker engine nor a binary. */
export async function startTestValkey(): Promise<TestValkey> {
  return (await startContainer()) ?? (await startBinary());
}

async function startBinary(): Promise<TestValkey> {
  const binary = await findValkey({ cacheDir: loadConfig(process.env).cacheDir, environment: process.env });
  if (binary === undefined) {
    throw new Error('No Valkey is set up for the tests: run `npm test`, which fetches it, or `npx lockstep setup`.');
  }
  const dir = await mkdtemp(join(tmpdir(), 'lockstep-valkey-'));
  const port = await freePort();
  const start = () => startValkey({ binary: binary.path, dir, port });
  let valkey = await start();
  const signal = async (name: NodeJS.Signals): Promise<void> => {
    process.kill(valkey.pid, name);
  };
  return {
    url: valkey.url,
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    restart: async () => {
      await valkey.stop(0);
      valkey = await start();
    },
    stop: async () => {
      await valkey.stop(0);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Undefined where no Docker engine answers. An engine that cannot have the image is a failure: its message says why. */
async function startContainer(): Promise<TestValkey | undefined> {
  // The library takes a while to load and to look around: not without a sign of an engine.
  if (process.env['DOCKER_HOST'] === undefined && !dockerSockets().some((path) => existsSync(path))) return undefined;
  const { GenericContainer, getContainerRuntimeClient, Wait } = await import('testcontainers');
  const client = await getContainerRuntimeClient().catch(() => undefined);
  if (client === undefined) return undefined;
  const port = await freePort();
  const container = await new GenericContainer(image)
    .withCommand(['valkey-server', '--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction'])
    // A fixed port, so that a restart keeps it.
    .withExposedPorts({ container: containerPort, host: port })
    .withWaitStrategy(Wait.forListeningPorts())
    .start();
  const engine = client.container.getById(container.getId());
  let stopped = false;
  return {
    url: `redis://${container.getHost()}:${container.getMappedPort(containerPort)}`,
    pause: async () => void (await engine.pause()),
    resume: async () => void (await engine.unpause()),
    restart: () => container.restart({ timeout: 0 }),
    stop: async () => {
      if (stopped) return;
      stopped = true;
      // By force: a paused container takes no polite stop.
      await engine.remove({ force: true, v: true });
    },
  };
}

function dockerSockets(): string[] {
  const home = process.env['HOME'];
  const runtime = process.env['XDG_RUNTIME_DIR'];
  return [
    '/var/run/docker.sock',
    ...(home === undefined ? [] : [join(home, '.docker/run/docker.sock')]),
    ...(runtime === undefined ? [] : [join(runtime, 'docker.sock')]),
  ];
}
