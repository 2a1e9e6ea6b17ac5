// Problem documents (RFC 9457): the one table that says which error is which HTTP status.
// Refuses to know how they are sent.
import { SpecError } from '#model/job-spec.js';
import type { FieldError } from '#model/job-spec.js';
import { z } from 'zod';
import { LockstepError } from '../errors.js';

/** Every problem that the API answers with. The name ends the `type` URN, so scripts may rely on it. */
export const problemKinds = {
  'invalid-request': { status: 400, title: 'The request cannot be understood' },
  unauthenticated: { status: 401, title: 'A token is needed' },
  forbidden: { status: 403, title: 'Not allowed' },
  'not-found': { status: 404, title: 'Not found' },
  conflict: { status: 409, title: 'The present state forbids it' },
  'too-large': { status: 413, title: 'The request is too large' },
  'unsupported-media-type': { status: 415, title: 'The body is of a kind that is not understood' },
  'range-not-satisfiable': { status: 416, title: 'The range lies outside the file' },
  'invalid-spec': { status: 422, title: 'The job spec has errors' },
  internal: { status: 500, title: 'Something went wrong inside the coordinator' },
  unavailable: { status: 503, title: 'Not available now' },
} as const satisfies Record<string, { status: number; title: string }>;
export type ProblemKind = keyof typeof problemKinds;

/** What each named error of the coordinator becomes. `SpecError` becomes `invalid-spec`. */
const kindOfError: Record<LockstepError['kind'], ProblemKind> = {
  'not-found': 'not-found',
  conflict: 'conflict',
  unavailable: 'unavailable',
  refused: 'forbidden',
};

export const problemSchema = z.object({
  type: z.string().meta({ description: 'urn:lockstep:problem:<kind>; the same for every occurrence' }),
  title: z.string(),
  status: z.int(),
  detail: z.string().meta({ description: 'What was wrong this time and, where there is one, what to do' }),
  errors: z
    .array(z.object({ path: z.string(), message: z.string() }))
    .optional()
    .meta({ description: 'One for each field or parameter that is wrong' }),
});
export type ProblemDocument = z.infer<typeof problemSchema>;

interface ProblemExtras {
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
}

/** Raised by the HTTP side itself. `message` is the document's detail. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem';

  constructor(
    readonly kind: ProblemKind,
    message: string,
    readonly extras: ProblemExtras = {},
  ) {
    super(message);
  }
}

export interface Problem {
  readonly kind: ProblemKind;
  readonly document: ProblemDocument;
  readonly headers: Readonly<Record<string, string>>;
}

/** The answer to any error. What is not known by name becomes `internal`, and its text stays inside. */
export function problemOf(error: unknown): Problem {
  if (error instanceof HttpProblem) return problem(error.kind, error.message, error.extras);
  if (error instanceof SpecError) return problem('invalid-spec', error.message, { errors: error.errors });
  if (error instanceof LockstepError) return problem(kindOfError[error.kind], error.message);
  return problemOfHttpError(error) ?? problem('internal', 'The cause is in the log of the coordinator.');
}

/** Errors of Nest and of Express's parsers carry a status of their own; those below 500 were caused by the request. */
function problemOfHttpError(error: unknown): Problem | undefined {
  if (!(error instanceof Error)) return undefined;
  const { status, statusCode, headers } = error as Error & {
    status?: unknown;
    statusCode?: unknown;
    headers?: unknown;
  };
  const found = status ?? statusCode;
  if (typeof found !== 'number' || found >= 500) return undefined;
  const byStatus = Object.entries(problemKinds).find(([, entry]) => entry.status === found);
  const kind = (byStatus?.[0] ?? 'invalid-request') as ProblemKind;
  const contentRange = (headers as Record<string, string> | undefined)?.['Content-Range'];
  return problem(kind, error.message, contentRange === undefined ? {} : { headers: { 'Content-Range': contentRange } });
}

function problem(kind: ProblemKind, detail: string, { errors, headers }: ProblemExtras = {}): Problem {
  const document = { type: `urn:lockstep:problem:${kind}`, ...titleAndStatus(kind), detail };
  return {
    kind,
    document: errors === undefined ? document : { ...document, errors: [...errors] },
    headers: headers ?? {},
  };
}

function titleAndStatus(kind: ProblemKind): { title: string; status: number } {
  const { title, status } = problemKinds[kind];
  return { title, status };
}
