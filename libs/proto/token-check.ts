// Turns calls away that do not carry the token, before any handler sees them.
// Refuses to know where tokens come from and what the calls do.
import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type Metadata,
  ResponderBuilder,
  ServerInterceptingCall,
  type ServerInterceptor,
  ServerListenerBuilder,
  status,
} from '@grpc/grpc-js';

/** Health checks say nothing worth protecting, and those who make them rarely have tokens. */
const openServices = ['/grpc.health.v1.Health/'];

/**
 * A server interceptor that answers UNAUTHENTICATED with one sentence unless the metadata `authorization` is
 * `Bearer <token>`. Without `token` every call passes.
 */
export function tokenCheck(token: string | undefined): ServerInterceptor {
  return (method, call) => {
    if (token === undefined || openServices.some((prefix) => method.path.startsWith(prefix))) {
      return new ServerInterceptingCall(call);
    }
    const listener = new ServerListenerBuilder()
      .withOnReceiveMetadata((metadata, next) => {
        const complaint = tokenComplaint(metadata, token);
        if (complaint === undefined) next(metadata);
        else call.sendStatus({ code: status.UNAUTHENTICATED, details: complaint });
      })
      .build();
    return new ServerInterceptingCall(call, new ResponderBuilder().withStart((next) => next(listener)).build());
  };
}

/** What is wrong with the call's token, for people; undefined when nothing is. */
export function tokenComplaint(metadata: Metadata, token: string): string | undefined {
  const remedy = 'set LOCKSTEP_WORKER_TOKEN to the same value on the worker as on the coordinator';
  const given = metadata.get('authorization')[0]?.toString();
  if (given === undefined) return `This call carries no token; ${remedy}.`;
  // Digests have one length, as the comparison in constant time needs.
  return timingSafeEqual(digest(given), digest(`Bearer ${token}`))
    ? undefined
    : `The token of this call is not the right one; ${remedy}.`;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
