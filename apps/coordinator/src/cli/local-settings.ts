// The settings of a system on this machine: environment, options on top, and ports that are free.
// Refuses to start anything.
import { type CoordinatorConfig, loadConfig } from '../config.js';
import { CommandFailed, sentenceOf } from './exit.js';
import { anyFreePort, becomesFree, freePortRange } from './supervision/ports.js';

export interface LocalOptions {
  readonly environment: NodeJS.ProcessEnv;
  /** Over LOCKSTEP_DATA_DIR, LOCKSTEP_HTTP_PORT, LOCKSTEP_GRPC_PORT. */
  readonly dataDir?: string | undefined;
  readonly httpPort?: number | undefined;
  readonly grpcPort?: number | undefined;
  /** Takes another HTTP port where the wanted one is taken. @default false */
  readonly anyHttpPort?: boolean;
}

export interface LocalSettings {
  /** For the children: what `config` was read from. */
  readonly environment: NodeJS.ProcessEnv;
  readonly config: CoordinatorConfig;
}

/** A system that a kill has just ended may still be letting go of its ports. */
const PORT_PATIENCE_MS = 3_000;

/** Environment and options, as they are wanted; ports not looked at yet. Throws `ConfigError`. */
export function wantedSettings(options: LocalOptions): LocalSettings {
  const overrides = {
    LOCKSTEP_DATA_DIR: options.dataDir,
    LOCKSTEP_HTTP_PORT: options.httpPort?.toString(),
    LOCKSTEP_GRPC_PORT: options.grpcPort?.toString(),
  };
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  const environment = { ...options.environment, ...given };
  return { environment, config: loadConfig(environment) };
}

/** The same with ports that are free now. Throws `CommandFailed` naming a port that was asked for and is taken. */
export async function withFreePorts(
  { environment, config }: LocalSettings,
  anyHttpPort: boolean,
): Promise<LocalSettings> {
  const grpcAsked = (environment['LOCKSTEP_GRPC_PORT'] ?? '').trim() !== '' && config.grpcPort !== 0;
  const settled = {
    ...environment,
    LOCKSTEP_DATA_DIR: config.dataDir,
    LOCKSTEP_HTTP_PORT: String(await freeHttpPort(config, anyHttpPort)),
    LOCKSTEP_GRPC_PORT: String(await freeGrpcPort(config, grpcAsked)),
  };
  return { environment: settled, config: loadConfig(settled) };
}

async function freeHttpPort(config: CoordinatorConfig, anyOther: boolean): Promise<number> {
  const { httpHost, httpPort } = config;
  return listening('LOCKSTEP_HTTP_HOST', httpHost, httpPort, async () => {
    if (httpPort === 0) {
      return anyFreePort(httpHost);
    }
    if (await becomesFree(httpHost, httpPort, anyOther ? 0 : PORT_PATIENCE_MS)) {
      return httpPort;
    }
    if (anyOther) {
      return anyFreePort(httpHost);
    }
    throw new CommandFailed(
      `Port ${httpPort} on ${httpHost} is in use by another program; ` +
        'stop that one or choose another port with --http-port or LOCKSTEP_HTTP_PORT.',
    );
  });
}

/** The control port, with one per slice after it. */
async function freeGrpcPort(config: CoordinatorConfig, asked: boolean): Promise<number> {
  const { grpcHost, grpcPort } = config;
  const count = config.reducers + 1;
  return listening('LOCKSTEP_GRPC_HOST', grpcHost, grpcPort, async () => {
    if (!asked) {
      return freePortRange(grpcHost, grpcPort, count);
    }
    for (let port = grpcPort; port < grpcPort + count; port += 1) {
      if (!(await becomesFree(grpcHost, port, PORT_PATIENCE_MS))) {
        throw new CommandFailed(
          `Port ${port} on ${grpcHost}, one of the gRPC ports ${grpcPort} to ${grpcPort + count - 1}, is in use by another program; ` +
            'choose others with --grpc-port or LOCKSTEP_GRPC_PORT, or leave both out.',
        );
      }
    }
    return grpcPort;
  });
}

/** An address that nobody can listen at is a mistake in the settings, not in the program. */
async function listening(variable: string, host: string, port: number, ask: () => Promise<number>): Promise<number> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof CommandFailed) {
      throw error;
    }
    const code = (error as NodeJS.ErrnoException).code ?? sentenceOf(error);
    throw new CommandFailed(`Nothing can listen on ${host} port ${port} (${code}); check ${variable}.`, {
      cause: error,
    });
  }
}
