import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestApplication } from './testing.js';
import type { TestApplication } from './testing.js';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
}
interface OpenApiOperation {
  readonly summary?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: object;
  readonly responses: Record<string, { content?: object }>;
  readonly security?: readonly object[];
}
interface Document {
  readonly openapi: string;
  readonly info: { version: string };
  readonly paths: Record<string, Record<string, OpenApiOperation>>;
  readonly components: { schemas: Record<string, object> };
}

let app: TestApplication;
let document: Document;
beforeAll(async () => {
  app = await startTestApplication();
  document = (await (await app.request('/openapi.json')).json()) as Document;
});
afterAll(() => app.stop());

test('lists every route of the API, and no other', () => {
  const routes = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`),
  );
  const job = '/api/v1/jobs/{id}';
  expect(routes.sort()).toEqual(
    [
      'get /health/live',
      'get /health/ready',
      'get /metrics',
      'get /api/v1/jobs',
      'post /api/v1/jobs',
      `get ${job}`,
      `delete ${job}`,
      ...['pause', 'resume', 'cancel', 'checkpoint'].map((action) => `post ${job}/${action}`),
      ...['metrics', 'ledger', 'audit', 'timeline', 'checkpoints', 'events'].map((record) => `get ${job}/${record}`),
      `get ${job}/checkpoints/{step}/files/{name}`,
      'get /api/v1/events',
      'get /api/v1/workers',
      'post /api/v1/workers/{id}/drain',
      'get /api/v1/datasets/{path}',
    ].sort(),
  );
  expect(document.openapi).toBe('3.1.0');
  expect(document.info.version).toBe('1.2.3');
});

test('says of each route what it is, answers and needs', () => {
  for (const [path, item] of Object.entries(document.paths)) {
    for (const operation of Object.values(item)) {
      expect(operation.summary).toBeTruthy();
      expect(Object.keys(operation.responses).some((status) => status.startsWith('2'))).toBe(true);
      expect(operation.responses).toHaveProperty('500');
      const guarded = !path.startsWith('/health/');
      expect(operation.security !== undefined).toBe(guarded);
      expect('401' in operation.responses).toBe(guarded);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      expect(namesOf(operation, 'path')).toEqual(inPath);
    }
  }
});

test('describes parameters by the schemas that check them', () => {
  const jobs = document.paths['/api/v1/jobs']!;
  expect(namesOf(jobs['get']!, 'query')).toEqual(['state', 'limit', 'cursor']);
  expect(jobs['get']!.parameters?.some(({ required }) => required)).toBe(false);
  expect(namesOf(jobs['post']!, 'header')).toEqual(['Idempotency-Key']);
  expect(JSON.stringify(jobs['post']!.requestBody)).toContain('#/components/schemas/JobSpecInput');
  expect(namesOf(document.paths['/api/v1/jobs/{id}/metrics']!['get']!, 'query')).toEqual(['series', 'maxPoints']);
  expect(namesOf(document.paths['/api/v1/jobs/{id}/ledger']!['get']!, 'query')).toEqual(['from', 'to']);
  expect(namesOf(document.paths['/api/v1/events']!['get']!, 'header')).toEqual(['Last-Event-ID']);
});

test('titles the body of a submission as the documentation names it', () => {
  expect(document.components.schemas['JobSpecInput']).toMatchObject({ title: 'JobSpecInput' });
});

test('refers only to schemas that it has', () => {
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map((match) => match[1]!);
  expect(references.length).toBeGreaterThan(20);
  for (const reference of new Set(references)) {
    const name = /^#\/components\/schemas\/(\w+)$/.exec(reference)?.[1];
    expect(name, reference).toBeDefined();
    expect(document.components.schemas).toHaveProperty(name!);
  }
  expect(JSON.stringify(document.components.schemas['JobSpecInput'])).toContain('shardsPerTask');
  expect(JSON.stringify(document.components.schemas['Job'])).toContain('"$ref":"#/components/schemas/JobSpec"');
});

test('has a page that loads from this origin alone, as its policy asks', async () => {
  const response = await app.request('/docs');
  expect(response.headers.get('content-type')).toMatch(/^text\/html/);
  const html = await response.text();
  const sources = [...html.matchAll(/<(?:script|link)[^>]+(?:src|href)=["']([^"']+)["']/g)].map((match) => match[1]!);
  expect(sources.length).toBeGreaterThanOrEqual(4);
  for (const source of sources) {
    const asset = await app.request(new URL(source, `${app.url}/docs`).pathname);
    expect([source, asset.status]).toEqual([source, 200]);
    await asset.body?.cancel();
  }
  expect(html).not.toMatch(/<script(?![^>]*\bsrc=)[^>]*>\s*\S/);
});

function namesOf(operation: OpenApiOperation, place: string): string[] {
  return (operation.parameters ?? []).filter((parameter) => parameter.in === place).map(({ name }) => name);
}
