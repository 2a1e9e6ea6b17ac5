// The gRPC server of the control port: Pool and the standard health service. Only ties them together.
import { Server } from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { type ServerTls, serverCredentials, serverOptions } from '#proto/channel.js';
import { PoolService, type PoolServer } from '#proto/generated/lockstep/v1/pool.js';
import { tokenCheck } from '#proto/token-check.js';

export interface ControlServerOptions {
  readonly host: string;
  readonly port: number;
  readonly workerToken: string | undefined;
  readonly tls: ServerTls | undefined;
}

export class ControlServer {
  readonly #server: Server;
  readonly port: number;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  /** Resolves when it listens. Throws an Error that names the address when it cannot. */
  static async start(options: ControlServerOptions, pool: PoolServer): Promise<ControlServer> {
    const server = new Server({ ...serverOptions(), interceptors: [tokenCheck(options.workerToken)] });
    server.addService(PoolService, pool);
    new HealthImplementation({ '': 'SERVING', 'lockstep.v1.Pool': 'SERVING' }).addToServer(server);
    const address = `${options.host}:${options.port}`;
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(address, serverCredentials(options.tls), (error, bound) => {
        if (error) reject(error);
        else resolve(bound);
      });
    });
    return new ControlServer(server, port);
  }

  stop(): void {
    this.#server.forceShutdown();
  }
}
