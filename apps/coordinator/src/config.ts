// The one reader of the coordinator's environment: every variable, its default, its check.
// Refuses to know what the settings are used for, and never repeats a value in a message: it may be a secret.
import { accessSync, constants } from 'node:fs';
import { availableParallelism, homedir, hostname, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { accessProblem, accessVariables, datasetAccess } from '#model/datasets/access-settings.js';
import type { DatasetAccess } from '#model/datasets/dataset-access.js';
import { z } from 'zod';
import { isWildcard } from './addresses.js';
import { problemsOf } from './config-checks.js';

/** What a token allows, weakest first; each role may do all that the ones before it may. */
export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface ApiToken {
  readonly role: Role;
  readonly token: string;
}

/** Paths of PEM files. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
  /** Whose certificates the other side must carry. */
  readonly ca: string | undefined;
}

export interface CoordinatorConfig {
  /** Address that REST and dashboard listen on. LOCKSTEP_HTTP_HOST @default 127.0.0.1 */
  readonly httpHost: string;
  /** 0 takes any free port. LOCKSTEP_HTTP_PORT @default 8080 */
  readonly httpPort: number;
  /** Address that the gRPC servers listen on. LOCKSTEP_GRPC_HOST @default 127.0.0.1 */
  readonly grpcHost: string;
  /** Control port; slice i listens on the port after it + i. LOCKSTEP_GRPC_PORT @default 50051 */
  readonly grpcPort: number;
  /** Host name under which workers reach the slices. LOCKSTEP_ADVERTISED_HOST @default grpcHost, or this machine's name where that is a wildcard */
  readonly advertisedHost: string;
  /** Absolute; downloads and builds that survive `npm ci`. LOCKSTEP_CACHE_DIR @default ~/.cache/lockstep */
  readonly cacheDir: string;
  /** Absolute; an existing TensorFlow library to use instead of the fetched one. LOCKSTEP_TENSORFLOW_DIR */
  readonly tensorflowDir: string | undefined;
  /** Absolute; datasets, jobs, checkpoints. LOCKSTEP_DATA_DIR @default ./data */
  readonly dataDir: string;
  /** Empty: the API asks for none, which is allowed on loopback only. LOCKSTEP_API_TOKENS, a comma list of role:token */
  readonly apiTokens: readonly ApiToken[];
  /** What workers must present. LOCKSTEP_WORKER_TOKEN */
  readonly workerToken: string | undefined;
  /** LOCKSTEP_TLS_CERT, LOCKSTEP_TLS_KEY, LOCKSTEP_TLS_CA */
  readonly tls: TlsFiles | undefined;
  /** Slices, each a reducer thread with a gRPC port. LOCKSTEP_REDUCERS @default half the cores, 1 to 4 */
  readonly reducers: number;
  /** host:port under which workers reach each slice, in order, where a port mapping, NAT or proxy lies between. LOCKSTEP_REDUCER_ADDRESSES, a comma list @default advertisedHost and the slices' own ports */
  readonly reducerAddresses: readonly string[] | undefined;
  /** Absolute; a folder in memory through which workers on this host pass tensors. Undefined: all goes over the network. LOCKSTEP_SHARED_MEMORY_DIR, `off` for none @default /dev/shm, or none where LOCKSTEP_REDUCER_ADDRESSES is set */
  readonly sharedMemoryDir: string | undefined;
  /** What contributions may take up while they wait for their step, bytes. LOCKSTEP_STAGING_MB @default a quarter of the memory, at least 1024 MB */
  readonly stagingBytes: number;
  /** How long a stop may take, milliseconds. LOCKSTEP_GRACE_MS @default 8000 */
  readonly graceMs: number;
  /** LOCKSTEP_LOG_LEVEL @default info */
  readonly logLevel: LogLevel;
  /** Undefined: the embedded Valkey. REDIS_URL */
  readonly redisUrl: string | undefined;
  /** Start of every key in Redis, so that systems can share one. LOCKSTEP_QUEUE_PREFIX @default lockstep */
  readonly queuePrefix: string;
  /** Whether /queues shows Bull Board. LOCKSTEP_BULL_BOARD @default off */
  readonly bullBoard: boolean;
  /** Jobs that train at the same time; the others stay queued. LOCKSTEP_MAX_RUNNING_JOBS @default 4 */
  readonly maxRunningJobs: number;
  /** Where workers on other hosts fetch datasets from. LOCKSTEP_ADVERTISED_URL @default advertisedHost and httpPort */
  readonly advertisedUrl: string | undefined;
  /** LOCKSTEP_DATASET_URLS @default none, LOCKSTEP_DATASET_CACHE_MB @default 20000, LOCKSTEP_S3_ENDPOINT, _REGION @default us-east-1, _ACCESS_KEY_ID, _SECRET_ACCESS_KEY, _SESSION_TOKEN */
  readonly datasetAccess: DatasetAccess;
}

export interface ConfigProblem {
  readonly variable: string;
  readonly message: string;
}

/** The environment cannot be used. Lists every problem by variable name, never by value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const lines = problems.map(({ variable, message }) => `  ${variable} ${message}`);
    super(['The environment has settings that cannot be used:', ...lines].join('\n'));
    this.problems = problems;
  }
}

// Messages are predicates ("must be …"), so that "VARIABLE message" reads as a sentence.
const port = (fallback: number) => integer(0, 65_535, fallback);
const host = z.string().regex(/^[A-Za-z0-9._:-]+$/, 'must be a host name or an IP address, without port or scheme');
const secret = z
  .string()
  .regex(/^[\x21-\x2b\x2d-\x7e]+$/, 'must be of visible ASCII characters, without spaces and commas');
const url = (protocol: RegExp, message: string) => z.url({ protocol, error: message });
const folder = z.string();
const address = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$/;

const variables = z.object({
  LOCKSTEP_HTTP_HOST: host.default('127.0.0.1'),
  LOCKSTEP_HTTP_PORT: port(8080),
  LOCKSTEP_GRPC_HOST: host.default('127.0.0.1'),
  LOCKSTEP_GRPC_PORT: port(50_051),
  LOCKSTEP_ADVERTISED_HOST: host.optional(),
  LOCKSTEP_CACHE_DIR: folder.optional(),
  LOCKSTEP_TENSORFLOW_DIR: folder.optional(),
  LOCKSTEP_DATA_DIR: folder.default('data'),
  LOCKSTEP_API_TOKENS: z.string().default('').transform(parseTokens),
  LOCKSTEP_WORKER_TOKEN: secret.optional(),
  LOCKSTEP_TLS_CERT: folder.optional(),
  LOCKSTEP_TLS_KEY: folder.optional(),
  LOCKSTEP_TLS_CA: folder.optional(),
  LOCKSTEP_REDUCERS: integer(1, 64, Math.max(1, Math.min(4, Math.floor(availableParallelism() / 2)))),
  LOCKSTEP_REDUCER_ADDRESSES: z
    .string()
    .transform((list) => list.split(',').map((entry) => entry.trim()))
    .refine((list) => list.every(isAddress), 'must be a comma list of host:port')
    .optional(),
  LOCKSTEP_SHARED_MEMORY_DIR: folder.optional(),
  LOCKSTEP_STAGING_MB: integer(1, 16_000_000, Math.max(1024, Math.floor(totalmem() / 4 / 2 ** 20))),
  LOCKSTEP_GRACE_MS: integer(0, 3_600_000, 8_000),
  LOCKSTEP_LOG_LEVEL: z.enum(logLevels, { error: `must be one of ${logLevels.join(', ')}` }).default('info'),
  REDIS_URL: url(/^(rediss?|unix)$/, 'must be a URL that starts with redis://, rediss:// or unix://').optional(),
  LOCKSTEP_QUEUE_PREFIX: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must be 1 to 64 letters, digits, dots, dashes or underscores')
    .default('lockstep'),
  LOCKSTEP_BULL_BOARD: z
    .enum(['on', 'off', 'true', 'false', '1', '0'], { error: 'must be on or off' })
    .default('off')
    .transform((value) => value === 'on' || value === 'true' || value === '1'),
  LOCKSTEP_MAX_RUNNING_JOBS: integer(1, 64, 4),
  LOCKSTEP_ADVERTISED_URL: url(/^https?$/, 'must be a URL that starts with http:// or https://').optional(),
  ...accessVariables,
});
type Variables = z.infer<typeof variables>;

/**
 * Reads and checks the environment.
 * @throws ConfigError with everything that is wrong, not only the first thing.
 */
export function loadConfig(env: NodeJS.ProcessEnv): CoordinatorConfig {
  const set = given(env);
  const first = variables.safeParse(set);
  const problems: ConfigProblem[] = (first.error?.issues ?? []).map(({ path, message }) => ({
    variable: String(path[0]),
    message,
  }));
  // What can be judged without the unusable variables is judged too, so that one start tells everything.
  const unusable = [...new Set(problems.map(({ variable }) => variable))];
  const values = variables.parse(Object.fromEntries(Object.entries(set).filter(([name]) => !unusable.includes(name))));
  const config = resolved(values, env);
  const access = accessProblem(values);
  for (const problem of [...tlsProblems(values), ...(access === undefined ? [] : [access]), ...problemsOf(config)]) {
    if (!unusable.some((name) => problem.variable === name || problem.message.includes(name))) problems.push(problem);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

function resolved(values: Variables, env: NodeJS.ProcessEnv): CoordinatorConfig {
  const { LOCKSTEP_TLS_CERT: cert, LOCKSTEP_TLS_KEY: key, LOCKSTEP_TLS_CA: ca } = values;
  const tls =
    cert !== undefined && key !== undefined ? { cert: resolve(cert), key: resolve(key), ca: absolute(ca) } : undefined;
  const grpcHost = values.LOCKSTEP_GRPC_HOST;
  const cacheDir = absolute(values.LOCKSTEP_CACHE_DIR) ?? join(env['HOME'] ?? homedir(), '.cache', 'lockstep');
  const dataDir = resolve(values.LOCKSTEP_DATA_DIR);
  return {
    httpHost: values.LOCKSTEP_HTTP_HOST,
    httpPort: values.LOCKSTEP_HTTP_PORT,
    grpcHost,
    grpcPort: values.LOCKSTEP_GRPC_PORT,
    advertisedHost: values.LOCKSTEP_ADVERTISED_HOST ?? (isWildcard(grpcHost) ? hostname() : grpcHost),
    cacheDir,
    tensorflowDir: absolute(values.LOCKSTEP_TENSORFLOW_DIR),
    dataDir,
    apiTokens: values.LOCKSTEP_API_TOKENS,
    workerToken: values.LOCKSTEP_WORKER_TOKEN,
    tls,
    reducers: values.LOCKSTEP_REDUCERS,
    reducerAddresses: values.LOCKSTEP_REDUCER_ADDRESSES,
    sharedMemoryDir: sharedMemoryDir(values),
    stagingBytes: values.LOCKSTEP_STAGING_MB * 2 ** 20,
    graceMs: values.LOCKSTEP_GRACE_MS,
    logLevel: values.LOCKSTEP_LOG_LEVEL,
    redisUrl: values.REDIS_URL,
    queuePrefix: values.LOCKSTEP_QUEUE_PREFIX,
    bullBoard: values.LOCKSTEP_BULL_BOARD,
    maxRunningJobs: values.LOCKSTEP_MAX_RUNNING_JOBS,
    advertisedUrl: values.LOCKSTEP_ADVERTISED_URL?.replace(/\/+$/, ''),
    datasetAccess: { ...datasetAccess(values, cacheDir), datasetsFolder: join(dataDir, 'datasets') },
  };
}

/** Where something lies between workers and slices it is there for a reason: then no bytes go round it unless told to. */
function sharedMemoryDir(values: Variables): string | undefined {
  const between = values.LOCKSTEP_REDUCER_ADDRESSES !== undefined;
  const named = values.LOCKSTEP_SHARED_MEMORY_DIR ?? (between ? 'off' : '/dev/shm');
  return named === 'off' ? undefined : resolve(named);
}

/** The variables that are set; an empty one counts as not set, as container files often pass them on empty. */
function given(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.keys(variables.shape).map((name) => [name, env[name]?.trim()] as const);
  return Object.fromEntries(
    entries.filter((entry): entry is readonly [string, string] => entry[1] !== undefined && entry[1] !== ''),
  );
}

function integer(min: number, max: number, fallback: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, message)
    .transform(Number)
    .pipe(z.number().min(min, message).max(max, message))
    .default(fallback);
}

function isAddress(text: string): boolean {
  return address.test(text) && Number(text.slice(text.lastIndexOf(':') + 1)) <= 65_535;
}

function parseTokens(list: string, context: z.RefinementCtx): ApiToken[] {
  const entries = list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  if (list !== '' && entries.length === 0)
    context.addIssue({ code: 'custom', message: 'has no entry; leave it out instead' });
  return entries.flatMap((entry, index) => {
    const at = entry.indexOf(':');
    const role = roles.find((name) => name === entry.slice(0, Math.max(at, 0)));
    const token = entry.slice(at + 1);
    if (role !== undefined && secret.safeParse(token).success) return [{ role, token }];
    const message = `has an entry (number ${index + 1}) that is not role:token with a role of ${roles.join(', ')} and a token without spaces`;
    context.addIssue({ code: 'custom', message });
    return [];
  });
}

function tlsProblems(values: Variables): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const pair = ['LOCKSTEP_TLS_CERT', 'LOCKSTEP_TLS_KEY'] as const;
  const anySet = [...pair, 'LOCKSTEP_TLS_CA' as const].some((variable) => values[variable] !== undefined);
  for (const variable of pair) {
    if (anySet && values[variable] === undefined)
      problems.push({ variable, message: 'must be set too, as TLS needs both certificate and key' });
  }
  for (const variable of [...pair, 'LOCKSTEP_TLS_CA' as const]) {
    const path = values[variable];
    if (path !== undefined && !isReadable(path))
      problems.push({ variable, message: 'names a file that cannot be read' });
  }
  return problems;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false; // whatever the cause, the message to the user is the same
  }
}

function absolute(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path);
}
