// How channels and servers are opened: options, TLS, tokens and deadlines, the same for every service.
// Refuses to know the environment (callers pass contents of files) and what is called.
import {
  type CallOptions,
  type ChannelOptions,
  type ChannelCredentials,
  credentials,
  Metadata,
  ServerCredentials,
} from '@grpc/grpc-js';
import { installHttp2Settings } from './http2-settings.js';

/** Limit of one message either way: a block of 1 MiB with its wrapping, or a job's spec, with much to spare. Bytes. */
export const maxMessageBytes = 8 * 1024 * 1024;

/** A silent peer is noticed after this plus the timeout, whether or not a call is open. Milliseconds. */
export const keepaliveTimeMs = 10_000;
export const keepaliveTimeoutMs = 10_000;

/** Contents of PEM files. */
export interface ClientTls {
  /** Authorities to trust; the system's when absent. */
  readonly ca?: Buffer | undefined;
  /** The client's own certificate and key, where the server asks for one. */
  readonly certificate?: Buffer | undefined;
  readonly privateKey?: Buffer | undefined;
}

/** Contents of PEM files. */
export interface ServerTls {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
  /** When given, only clients with a certificate of this authority are let in. */
  readonly clientCa?: Buffer | undefined;
}

const common: ChannelOptions = {
  'grpc.max_receive_message_length': maxMessageBytes,
  'grpc.max_send_message_length': maxMessageBytes,
  'grpc.keepalive_time_ms': keepaliveTimeMs,
  'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
};

/** Options for every client. Sees to it that sessions which open from now on have large frames. */
export function channelOptions(): ChannelOptions {
  installHttp2Settings();
  return {
    ...common,
    'grpc.keepalive_permit_without_calls': 1,
    // Retries copy and keep messages; whoever calls decides what is worth doing again.
    'grpc.enable_retries': 0,
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.min_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 5_000,
    // A client's connection is its own and ends with it.
    'grpc.use_local_subchannel_pool': 1,
    // Proxies of the environment are for the web, not for gigabytes between neighbours.
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
  };
}

/** Options for every server. Sees to it that sessions which open from now on have large frames. */
export function serverOptions(): ChannelOptions {
  installHttp2Settings();
  return { ...common };
}

/** TLS where `tls` is given, else none. */
export function clientCredentials(tls?: ClientTls): ChannelCredentials {
  if (tls === undefined) return credentials.createInsecure();
  return credentials.createSsl(tls.ca ?? null, tls.privateKey ?? null, tls.certificate ?? null);
}

/** TLS where `tls` is given, else none. */
export function serverCredentials(tls?: ServerTls): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { private_key: tls.privateKey, cert_chain: tls.certificate };
  return ServerCredentials.createSsl(tls.clientCa ?? null, [pair], tls.clientCa !== undefined);
}

/** Metadata of a call: the token, where there is one. */
export function callMetadata(token?: string): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

/** Options that end a call `deadlineMs` from now. */
export function callOptions(deadlineMs: number): CallOptions {
  return { deadline: Date.now() + deadlineMs };
}
