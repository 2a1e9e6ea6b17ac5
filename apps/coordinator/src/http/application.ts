// Makes the HTTP side of the coordinator, starts it and stops it in bounded time.
// Refuses to read the environment and to end the process: main.ts does.
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createSecureContext } from 'node:tls';
import 'reflect-metadata';
import type { INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { httpUrl } from '../addresses.js';
import type { CoordinatorConfig, TlsFiles } from '../config.js';
import { UnavailableError } from '../errors.js';
import { requireAccess } from './access-guard.js';
import { AccessControl } from './access.js';
import { httpModule } from './http-module.js';
import type { HttpPorts } from './http-module.js';
import { nestLogger } from './nest-logger.js';
import { serveOpenApi } from './openapi.js';
import { requestLog } from './request-log.js';
import { securityHeaders } from './security-headers.js';

export type { HttpPorts } from './http-module.js';

/** Far above any job spec. */
const MAX_BODY = '1mb';
const JSON_TYPES = ['application/json', 'application/*+json'];

/**
 * The application, initialised but not listening: `listenHttp` and `closeHttp` do the rest.
 * @throws UnavailableError where the TLS files do not hold a certificate and its key
 */
export async function createHttpApplication(config: CoordinatorConfig, ports: HttpPorts): Promise<INestApplication> {
  const { tls } = config;
  const app = await NestFactory.create<NestExpressApplication>(httpModule(config, ports), {
    logger: nestLogger(ports.logger),
    abortOnError: false,
    bodyParser: false,
    ...(tls === undefined ? {} : { httpsOptions: readPair(tls) }),
  });
  app.disable('x-powered-by');
  app.set('etag', () => undefined); // views change with every step; files have ETags of their own, which `false` would switch off
  app.use(requestLog(ports.logger));
  app.use(securityHeaders());
  app.use('/api/v1', neverStored);
  if (ports.queueBoard !== undefined)
    app.use('/queues', requireAccess(app.get(AccessControl), 'admin'), ports.queueBoard);
  app.useBodyParser('json', { limit: MAX_BODY, type: JSON_TYPES });
  serveOpenApi(app, ports.version);
  await app.init();
  return app;
}

/**
 * Listens where the configuration says; resolves to the URL at which this machine reaches it (port 0 resolved).
 * @throws UnavailableError, one sentence that names the variable to change
 */
export async function listenHttp(app: INestApplication, config: CoordinatorConfig): Promise<string> {
  const server = app.getHttpServer() as Server;
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(new UnavailableError(listenMessage(error, config), { cause: error }));
    server.once('error', failed);
    server.listen({ host: config.httpHost, port: config.httpPort }, () => {
      server.off('error', failed);
      resolve();
    });
  });
  return httpUrl(config.tls !== undefined, config.httpHost, (server.address() as AddressInfo).port);
}

/**
 * Ends event streams, lets running requests finish for up to `deadlineMs`, then cuts them. Idempotent.
 */
export async function closeHttp(app: INestApplication, deadlineMs: number): Promise<void> {
  const server = app.getHttpServer() as Server;
  const idle = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS);
  const cut = setTimeout(() => server.closeAllConnections(), deadlineMs);
  try {
    await app.close();
  } finally {
    clearInterval(idle);
    clearTimeout(cut);
  }
}

/** A connection that a request has just left is idle, and would keep the server open for its keep-alive time. */
const IDLE_CHECK_MS = 20;

function neverStored(
  _request: unknown,
  response: { setHeader(name: string, value: string): void },
  next: () => void,
): void {
  response.setHeader('Cache-Control', 'no-store');
  next();
}

function listenMessage(error: NodeJS.ErrnoException, { httpHost, httpPort }: CoordinatorConfig): string {
  switch (error.code) {
    case 'EADDRINUSE':
      return `Port ${httpPort} on ${httpHost} is in use by another program; stop it or set LOCKSTEP_HTTP_PORT to a free port.`;
    case 'EACCES':
      return `Port ${httpPort} may not be used by this user; set LOCKSTEP_HTTP_PORT to a port above 1023.`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return `This machine has no address ${httpHost}; set LOCKSTEP_HTTP_HOST to one that it has, such as 127.0.0.1.`;
    default:
      return `The HTTP server cannot listen on ${httpHost}:${httpPort} (${error.code ?? error.message}).`;
  }
}

function readPair(files: TlsFiles): { cert: Buffer; key: Buffer } {
  try {
    const pair = { cert: readFileSync(files.cert), key: readFileSync(files.key) };
    createSecureContext(pair);
    return pair;
  } catch (error) {
    const message =
      'The files of LOCKSTEP_TLS_CERT and LOCKSTEP_TLS_KEY do not hold a certificate and its key in PEM form.';
    throw new UnavailableError(message, { cause: error });
  }
}
