// Large HTTP/2 windows and frames for the sessions that grpc-js opens; it has no options of its own for most of this.
// Refuses to know what travels over them. Each thread has modules of its own, so each thread must install.
import { createRequire } from 'node:module';
import type { ClientHttp2Session, Http2Server, ServerHttp2Session, Settings } from 'node:http2';

/**
 * What this side announces; a peer may send DATA frames of up to this size. Node as a sender keeps to 16 KiB all the same
 * (20.20, 22.23 and 24.21 were looked at: nghttp2's default payload); what helps between Node processes are the windows.
 * Bytes.
 */
export const frameBytes = 1024 * 1024;
/** How much the peer may send on one stream before this side has read it. Bytes. */
export const streamWindowBytes = 16 * 1024 * 1024;
/** The same for all streams of a session together. Bytes. */
export const sessionWindowBytes = 64 * 1024 * 1024;

type Options = Record<string, unknown> & { settings?: Settings };
type Opener<Result> = (first: unknown, ...rest: unknown[]) => Result;
interface Http2Module {
  connect: Opener<ClientHttp2Session>;
  createServer: Opener<Http2Server>;
  createSecureServer: Opener<Http2Server>;
}

const installed = Symbol.for('lockstep.http2-settings');

/**
 * Wraps `connect`, `createServer` and `createSecureServer` of `node:http2` in this thread; doing it again changes nothing.
 * Only sessions whose options look like grpc-js's are touched. Call it before the first gRPC channel or server opens
 * (`channelOptions` and `serverOptions` do it too): sessions that are open already keep their small frames.
 */
export function installHttp2Settings(): void {
  // The CommonJS object, not the ES namespace: grpc-js looks its functions up on this one at each call.
  const http2 = createRequire(import.meta.url)('node:http2') as Http2Module & { [installed]?: true };
  if (http2[installed]) return;
  Object.defineProperty(http2, installed, { value: true });

  const { connect, createServer, createSecureServer } = http2;
  http2.connect = (authority, options, ...rest) => {
    if (!isGrpcOptions(options)) return connect(authority, options, ...rest);
    const session = connect(authority, enlarged(options), ...rest);
    // Before the handshake there is no native session yet to enlarge.
    session.once('connect', () => session.setLocalWindowSize(sessionWindowBytes));
    return session;
  };
  const serverOpener =
    (open: Opener<Http2Server>): Opener<Http2Server> =>
    (options, ...rest) => {
      if (!isGrpcOptions(options)) return open(options, ...rest);
      const server = open(enlarged(options), ...rest);
      server.on('session', (session: ServerHttp2Session) => session.setLocalWindowSize(sessionWindowBytes));
      return server;
    };
  http2.createServer = serverOpener(createServer);
  http2.createSecureServer = serverOpener(createSecureServer);
}

/** grpc-js lifts the limit of header blocks to the largest integer on both sides; hardly anybody else does. */
function isGrpcOptions(options: unknown): options is Options {
  return (
    typeof options === 'object' &&
    options !== null &&
    (options as { maxSendHeaderBlockLength?: unknown }).maxSendHeaderBlockLength === Number.MAX_SAFE_INTEGER
  );
}

function enlarged(options: Options): Options {
  return {
    ...options,
    settings: { ...options.settings, maxFrameSize: frameBytes, initialWindowSize: streamWindowBytes },
  };
}
