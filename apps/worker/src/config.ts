// The one reader of the environment in the worker: names, defaults, limits.
// Refuses to know what the values are used for.
import { availableParallelism, homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { accessProblem, accessVariables, datasetAccess } from '#model/datasets/access-settings.js';
import type { DatasetAccess } from '#model/datasets/dataset-access.js';

export { kernelFlags, tensorflowEnvironment } from '#model/tensorflow/settings.js';

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const address = z.string().regex(/^[^\s:/]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$/, 'must be host:port');
const wholeNumber = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(least, `must be ${least} or more`).max(most, `must be ${most} or less`));

const environment = z.object({
  LOCKSTEP_COORDINATOR: address.default('127.0.0.1:50051'),
  REDIS_URL: z
    .string()
    .regex(/^(rediss?|unix):\/\/.+|^\/.+/, 'must be a URL such as redis://127.0.0.1:6379')
    .default('redis://127.0.0.1:6379'),
  LOCKSTEP_THREADS: wholeNumber(1, 1024).default(1),
  LOCKSTEP_IMAGE_THREADS: wholeNumber(1, 256).optional(),
  LOCKSTEP_IMAGE_CACHE_BYTES: wholeNumber(0, 2 ** 40).default(256 * 2 ** 20),
  LOCKSTEP_GRACE_MS: wholeNumber(0, 3_600_000).default(8_000),
  LOCKSTEP_WORKER_TOKEN: z.string().min(1).optional(),
  LOCKSTEP_WORKER_NAME: z
    .string()
    .regex(/^[\w.-]{1,64}$/, "must be 1 to 64 letters, digits, '.', '_' or '-'")
    .optional(),
  LOCKSTEP_TLS_CA: z.string().min(1).optional(),
  LOCKSTEP_TLS_CERT: z.string().min(1).optional(),
  LOCKSTEP_TLS_KEY: z.string().min(1).optional(),
  LOCKSTEP_LOG_LEVEL: z.enum(logLevels, `must be one of ${logLevels.join(', ')}`).default('info'),
  LOCKSTEP_EXIT_WITH_PARENT: z.enum(['0', '1'], 'must be 0 or 1').default('0'),
  LOCKSTEP_CACHE_DIR: z.string().optional(),
  ...accessVariables,
});

export interface WorkerConfig {
  /** host:port of the coordinator's control port. @default '127.0.0.1:50051' */
  readonly coordinator: string;
  /** @default 'redis://127.0.0.1:6379' */
  readonly redisUrl: string;
  /** TensorFlow threads; part of the numerics class. @default 1 */
  readonly threads: number;
  /** Threads that decode images. @default half the processors, at most 8 */
  readonly imageThreads: number;
  /** Memory for encoded images, so that they are not read again. @default 256 MiB */
  readonly imageCacheBytes: number;
  /** How long a termination may take, milliseconds. @default 8000 */
  readonly graceMs: number;
  /** Secret that the coordinator asks of workers. */
  readonly token: string | undefined;
  /** Name for people. @default host name and process id */
  readonly name: string;
  /** Files in PEM form; with `ca` the connection is encrypted, with `cert` and `key` the worker shows who it is. */
  readonly tls:
    { readonly ca: string; readonly cert: string | undefined; readonly key: string | undefined } | undefined;
  /** @default 'info' */
  readonly logLevel: (typeof logLevels)[number];
  /** Stop at once when the standard input ends. @default false */
  readonly exitWithParent: boolean;
  /** What this worker may reach of datasets, and what it keeps of them; as the coordinator's. */
  readonly datasetAccess: DatasetAccess;
}

/** What is wrong with the environment: a sentence per variable, never its value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads and checks the environment. Empty variables count as absent. Throws `ConfigError` that lists all problems. */
export function loadConfig(env: NodeJS.ProcessEnv): WorkerConfig {
  const present = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const result = environment.safeParse(present);
  const problems = result.success ? [] : result.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`);
  const pem = (name: string) => present[name] !== undefined;
  if (pem('LOCKSTEP_TLS_CERT') !== pem('LOCKSTEP_TLS_KEY')) {
    problems.push('LOCKSTEP_TLS_CERT and LOCKSTEP_TLS_KEY must be set together');
  }
  if (pem('LOCKSTEP_TLS_CERT') && !pem('LOCKSTEP_TLS_CA')) {
    problems.push('LOCKSTEP_TLS_CA must be set where LOCKSTEP_TLS_CERT is');
  }
  const access = accessProblem(present);
  if (access !== undefined) problems.push(`${access.variable} ${access.message}`);
  if (!result.success || problems.length > 0) {
    throw new ConfigError(`The worker cannot start: ${problems.join('; ')}.`);
  }
  const values = result.data;
  return {
    coordinator: values.LOCKSTEP_COORDINATOR,
    redisUrl: values.REDIS_URL,
    threads: values.LOCKSTEP_THREADS,
    imageThreads: values.LOCKSTEP_IMAGE_THREADS ?? Math.max(1, Math.min(8, Math.floor(availableParallelism() / 2))),
    imageCacheBytes: values.LOCKSTEP_IMAGE_CACHE_BYTES,
    graceMs: values.LOCKSTEP_GRACE_MS,
    token: values.LOCKSTEP_WORKER_TOKEN,
    name: values.LOCKSTEP_WORKER_NAME ?? `${hostname()}-${process.pid}`,
    tls:
      values.LOCKSTEP_TLS_CA === undefined
        ? undefined
        : { ca: values.LOCKSTEP_TLS_CA, cert: values.LOCKSTEP_TLS_CERT, key: values.LOCKSTEP_TLS_KEY },
    logLevel: values.LOCKSTEP_LOG_LEVEL,
    exitWithParent: values.LOCKSTEP_EXIT_WITH_PARENT === '1',
    datasetAccess: datasetAccess(
      values,
      resolve(values.LOCKSTEP_CACHE_DIR ?? join(env['HOME'] ?? homedir(), '.cache', 'lockstep')),
    ),
  };
}
