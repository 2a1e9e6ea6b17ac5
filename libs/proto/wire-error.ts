// The one error of the wire: which call to whom failed, for which task, how and why.
// Refuses to know what the caller does about it.
import { status } from '@grpc/grpc-js';

/**
 * How a call failed: `deadline`: no end within its limit. `stalled`: nothing moved for its limit. `aborted`: this side
 * gave up. `closed`: the other side ended it, or the connection was lost. `unreachable`: no connection could be had.
 * `unauthenticated`: the token is missing or wrong. `failed`: the other side answered with another error status.
 */
export type WireFault = 'deadline' | 'stalled' | 'aborted' | 'closed' | 'unreachable' | 'unauthenticated' | 'failed';

/** Where a message goes or comes from, for error messages. */
export interface CallSite {
  /** Such as `Reducer.PushGradient`. */
  readonly call: string;
  /** Address or name of the other side. */
  readonly peer: string;
  /** Such as taskName(key) gives. */
  readonly task?: string | undefined;
}

/** A call over the wire that did not end well; `message` names call, peer, task and cause. */
export class WireError extends Error {
  override readonly name = 'WireError';
  readonly fault: WireFault;
  readonly site: CallSite;
  /** gRPC status code, where the failure came as one. */
  readonly grpcStatus: status | undefined;

  constructor(fault: WireFault, site: CallSite, detail: string, options?: { cause?: unknown; grpcStatus?: status }) {
    const task = site.task === undefined ? '' : ` for ${site.task}`;
    super(`${site.call} with ${site.peer}${task}: ${detail}`, { cause: options?.cause });
    this.fault = fault;
    this.site = site;
    this.grpcStatus = options?.grpcStatus;
  }
}

/** Turns whatever a grpc-js call or stream failed with into a WireError; one that is a WireError already stays as it is. */
export function wireErrorOf(error: unknown, site: CallSite): WireError {
  if (error instanceof WireError) return error;
  if (isStatus(error)) {
    const fault = faultOfStatus[error.code] ?? 'failed';
    const detail = sentences[fault] ?? `${status[error.code] ?? error.code}: ${error.details}`;
    const reason = sentences[fault] === undefined || error.details === '' ? '' : ` (${error.details})`;
    return new WireError(fault, site, detail + reason, { cause: error, grpcStatus: error.code });
  }
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'ERR_STREAM_DESTROYED') {
    return new WireError('closed', site, sentences.closed, { cause: error });
  }
  return new WireError('failed', site, error instanceof Error ? error.message : String(error), { cause: error });
}

/** The error of a call that this side gave up because `signal` was aborted. */
export function abortedError(signal: AbortSignal, site: CallSite): WireError {
  const { reason } = signal as { reason: unknown };
  // The reason that `abort()` invents tells nobody anything.
  const invented = reason instanceof DOMException && reason.name === 'AbortError';
  const cause = reason instanceof Error ? reason.message : String(reason);
  return new WireError('aborted', site, `given up here${invented ? '' : `: ${cause}`}`, { cause: reason });
}

const sentences = {
  deadline: 'it did not end before its deadline',
  closed: 'the other side ended the call or the connection was lost',
  unreachable: 'no connection, or it was lost',
  unauthenticated: 'the token was refused',
} as Record<WireFault, string> & { closed: string };

const faultOfStatus: Partial<Record<status, WireFault>> = {
  [status.DEADLINE_EXCEEDED]: 'deadline',
  [status.CANCELLED]: 'closed',
  [status.UNAVAILABLE]: 'unreachable',
  [status.UNAUTHENTICATED]: 'unauthenticated',
};

function isStatus(error: unknown): error is { code: status; details: string } {
  const candidate = error as { code?: unknown; details?: unknown } | null;
  return typeof candidate?.code === 'number' && typeof candidate.details === 'string';
}
