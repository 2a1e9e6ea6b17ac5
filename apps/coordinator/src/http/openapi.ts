// The OpenAPI document and its page: routes by Nest's scan, schemas by zod.
// Refuses to describe anything by hand that code already says.
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import type { OpenAPIObject } from '@nestjs/swagger';
import { z } from 'zod';
import { components } from './views.js';

type Schemas = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>;

const intro =
  'Train residual networks over a pool of workers; the result does not depend on who computed it. ' +
  'Where tokens are set, send `Authorization: Bearer <token>`. Errors are problem documents (RFC 9457).';

/** Serves `/openapi.json` and `/docs`. The document is made when it is first asked for. */
export function serveOpenApi(app: NestExpressApplication, version: string): void {
  let document: OpenAPIObject | undefined;
  SwaggerModule.setup('docs', app, () => (document ??= createDocument(app, version)), {
    jsonDocumentUrl: 'openapi.json',
    raw: ['json'],
    customSiteTitle: 'Lockstep API',
    swaggerOptions: { validatorUrl: null, persistAuthorization: false },
  });
}

function createDocument(app: NestExpressApplication, version: string): OpenAPIObject {
  const base = new DocumentBuilder()
    .setOpenAPIVersion('3.1.0')
    .setTitle('Lockstep')
    .setDescription(intro)
    .setVersion(version)
    .addBearerAuth()
    .build();
  const document = SwaggerModule.createDocument(app, base, {
    operationIdFactory: (controller, method) => `${controller.replace(/Controller$/, '')}_${method}`,
  });
  document.components = { ...document.components, schemas: { ...document.components?.schemas, ...componentSchemas() } };
  return document;
}

/** The schemas of views.ts as JSON Schema (2020-12, which is OpenAPI 3.1's), each referring to the others by name. */
function componentSchemas(): Schemas {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(components)) registry.add(schema, { id });
  const options = { uri: (id: string) => `#/components/schemas/${id}`, unrepresentable: 'any' } as const;
  const asOutput = z.toJSONSchema(registry, { ...options, io: 'output' }).schemas;
  const asInput = z.toJSONSchema(registry, { ...options, io: 'input' }).schemas;
  const schemas = { ...asOutput, JobSpecInput: asInput['JobSpecInput'] };
  return Object.fromEntries(
    Object.entries(schemas).map(([id, schema]) => [id, withoutIdentity(schema as object)]),
  ) as Schemas;
}

/** Inside one document a schema is found by its place: `$id` and `$schema` would only mislead. */
function withoutIdentity(schema: object): object {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== '$id' && key !== '$schema'));
}
