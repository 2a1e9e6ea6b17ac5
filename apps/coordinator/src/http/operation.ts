// One decorator per route that says what it is, whom it serves and what it answers: access and documentation in one place.
// Refuses to know how the OpenAPI document is served.
import { applyDecorators } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiResponse } from '@nestjs/swagger';
import { Access } from './access-guard.js';
import type { Need } from './access.js';
import { problemKinds } from './problems.js';
import type { ProblemKind } from './problems.js';
import type { ComponentName } from './views.js';

interface Answer {
  readonly description: string;
  /** Left out: an answer without a body, or one that is not JSON. */
  readonly body?: ComponentName;
  /** @default application/json */
  readonly mediaType?: string;
}

export interface OperationOptions {
  readonly summary: string;
  readonly description?: string;
  readonly access: Need;
  /** By status. */
  readonly answers: Readonly<Record<number, Answer>>;
  /** Those that come with the access (401, 403) and with any failure (500) need not be named. */
  readonly problems?: readonly ProblemKind[];
}

export const reference = (name: ComponentName): { $ref: string } => ({ $ref: `#/components/schemas/${name}` });

export function Operation(options: OperationOptions): MethodDecorator {
  const { summary, description, access, answers, problems = [] } = options;
  const ofAccess: readonly ProblemKind[] = access === 'open' ? [] : ['unauthenticated', 'forbidden'];
  return applyDecorators(
    Access(access),
    ApiOperation({ summary, ...(description === undefined ? {} : { description }) }),
    ...(access === 'open' ? [] : [ApiBearerAuth()]),
    ...Object.entries(answers).map(([status, answer]) =>
      ApiResponse({ status: Number(status), ...documented(answer) }),
    ),
    ...[...problems, ...ofAccess, 'internal' as const].map((kind) => ApiResponse(documentedProblem(kind))),
  );
}

function documented({ description, body, mediaType = 'application/json' }: Answer) {
  if (body === undefined && mediaType === 'application/json') return { description };
  const schema = body === undefined ? { type: 'string' as const } : reference(body);
  return { description, content: { [mediaType]: { schema } } };
}

function documentedProblem(kind: ProblemKind) {
  const { status, title } = problemKinds[kind];
  return { status, description: title, content: { 'application/problem+json': { schema: reference('Problem') } } };
}
