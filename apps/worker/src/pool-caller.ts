// The channel to the coordinator's control port and what every call on it carries.
// Refuses to know which calls are made.
import type { ChannelCredentials, Metadata } from '@grpc/grpc-js';
import { openReducer } from '#proto/block-codec.js';
import { callMetadata, channelOptions } from '#proto/channel.js';
import { PoolClient } from '#proto/generated/lockstep/v1/pool.js';
import type { ReducerClient } from '#proto/generated/lockstep/v1/reducer.js';
import type { SharedMemory } from './shared-memory.js';

/** How every channel of this worker is opened. */
export interface Access {
  readonly credentials: ChannelCredentials;
  readonly token: string | undefined;
}

export interface PoolCaller {
  readonly address: string;
  readonly client: PoolClient;
  readonly metadata: Metadata;
  close(): void;
}

/** One slice of the reducer. */
export interface SliceCaller {
  readonly slice: number;
  readonly address: string;
  readonly client: ReducerClient;
  readonly metadata: Metadata;
}

export function openPool(address: string, access: Access): PoolCaller {
  const client = new PoolClient(address, access.credentials, channelOptions());
  return { address, client, metadata: callMetadata(access.token), close: () => client.close() };
}

/** The slices, in the order that the coordinator named them; opened once per registration. */
export class Slices {
  readonly callers: readonly SliceCaller[];
  /** Where the coordinator runs on this host; else all goes over the network. */
  readonly sharedMemory: SharedMemory | undefined;

  constructor(addresses: readonly string[], access: Access, sharedMemory?: SharedMemory) {
    this.sharedMemory = sharedMemory;
    const metadata = callMetadata(access.token);
    this.callers = addresses.map((address, slice) => {
      return { slice, address, client: openReducer(address, access.credentials, channelOptions()), metadata };
    });
  }

  get count(): number {
    return this.callers.length;
  }

  close(): void {
    for (const { client } of this.callers) client.close();
    this.sharedMemory?.trim();
  }
}
