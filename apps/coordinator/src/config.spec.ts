import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ConfigError, loadConfig } from './config.js';

function problemsOf(env: NodeJS.ProcessEnv): Record<string, string> {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return Object.fromEntries(error.problems.map((p) => [p.variable, p.message]));
    throw error;
  }
  return {};
}

describe('loadConfig', () => {
  test('fills in the defaults', () => {
    const config = loadConfig({ HOME: '/home/someone' });
    expect(config).toMatchObject({
      httpHost: '127.0.0.1',
      httpPort: 8080,
      grpcHost: '127.0.0.1',
      grpcPort: 50_051,
      advertisedHost: '127.0.0.1',
      cacheDir: '/home/someone/.cache/lockstep',
      tensorflowDir: undefined,
      dataDir: resolve('data'),
      apiTokens: [],
      workerToken: undefined,
      tls: undefined,
      graceMs: 8_000,
      logLevel: 'info',
      redisUrl: undefined,
      queuePrefix: 'lockstep',
      bullBoard: false,
      maxRunningJobs: 4,
      datasetAccess: {
        datasetsFolder: expect.stringMatching(/datasets$/),
        cacheBytes: 20_000 * 2 ** 20,
        urlPrefixes: [],
        s3: { endpoint: undefined, region: 'us-east-1', credentials: undefined },
      },
    });
    expect(config.reducers).toBeGreaterThanOrEqual(1);
  });

  test('refuses URLs of datasets that hold passwords, and half of the credentials, without repeating them', () => {
    for (const list of ['https://me:secret@host/', 'ftp://host/secret', 'secret', 'https://host/?secret']) {
      expect(() => loadConfig({ LOCKSTEP_DATASET_URLS: list })).toThrow(
        /LOCKSTEP_DATASET_URLS must be a comma list of http/,
      );
      expect(() => loadConfig({ LOCKSTEP_DATASET_URLS: list })).not.toThrow(/secret/);
    }
    expect(() => loadConfig({ LOCKSTEP_S3_ACCESS_KEY_ID: 'id' })).toThrow(
      'LOCKSTEP_S3_SECRET_ACCESS_KEY must be set where LOCKSTEP_S3_ACCESS_KEY_ID is',
    );
  });

  test('shares memory by default, but not round what lies between workers and slices', () => {
    const between = { LOCKSTEP_REDUCERS: '1', LOCKSTEP_REDUCER_ADDRESSES: 'proxy.example:1' };
    expect(loadConfig({}).sharedMemoryDir).toBe('/dev/shm');
    expect(loadConfig({ LOCKSTEP_SHARED_MEMORY_DIR: 'off' }).sharedMemoryDir).toBeUndefined();
    expect(loadConfig(between).sharedMemoryDir).toBeUndefined();
    expect(loadConfig({ ...between, LOCKSTEP_SHARED_MEMORY_DIR: '/run/memory' }).sharedMemoryDir).toBe('/run/memory');
  });

  test('reads every variable', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-config-'));
    for (const name of ['cert', 'key', 'ca']) writeFileSync(join(directory, name), 'pem');
    const config = loadConfig({
      LOCKSTEP_HTTP_HOST: '0.0.0.0',
      LOCKSTEP_HTTP_PORT: '9000',
      LOCKSTEP_GRPC_HOST: '::',
      LOCKSTEP_GRPC_PORT: '6000',
      LOCKSTEP_ADVERTISED_HOST: 'trainer.example',
      LOCKSTEP_CACHE_DIR: '/cache',
      LOCKSTEP_TENSORFLOW_DIR: '/tensorflow',
      LOCKSTEP_DATA_DIR: '/data',
      LOCKSTEP_API_TOKENS: 'viewer:look, admin:all:of:it',
      LOCKSTEP_WORKER_TOKEN: 'work',
      LOCKSTEP_TLS_CERT: join(directory, 'cert'),
      LOCKSTEP_TLS_KEY: join(directory, 'key'),
      LOCKSTEP_TLS_CA: join(directory, 'ca'),
      LOCKSTEP_REDUCERS: '3',
      LOCKSTEP_REDUCER_ADDRESSES: 'a.example:1, [::1]:2,10.0.0.3:65535',
      LOCKSTEP_GRACE_MS: '500',
      LOCKSTEP_LOG_LEVEL: 'debug',
      REDIS_URL: 'redis://:secret@localhost:6379/1',
      LOCKSTEP_QUEUE_PREFIX: 'test-1',
      LOCKSTEP_BULL_BOARD: 'on',
      LOCKSTEP_MAX_RUNNING_JOBS: '2',
      LOCKSTEP_STAGING_MB: '64',
      LOCKSTEP_ADVERTISED_URL: 'https://trainer.example/lockstep/',
      LOCKSTEP_DATASET_URLS: 'https://data.example/sets/, s3://bucket',
      LOCKSTEP_DATASET_CACHE_MB: '5',
      LOCKSTEP_S3_ENDPOINT: 'http://127.0.0.1:9000',
      LOCKSTEP_S3_REGION: 'eu-central-1',
      LOCKSTEP_S3_ACCESS_KEY_ID: 'id',
      LOCKSTEP_S3_SECRET_ACCESS_KEY: 'secret',
      LOCKSTEP_S3_SESSION_TOKEN: 'session',
    });
    rmSync(directory, { recursive: true });
    expect(config).toEqual({
      httpHost: '0.0.0.0',
      httpPort: 9000,
      grpcHost: '::',
      grpcPort: 6000,
      advertisedHost: 'trainer.example',
      cacheDir: '/cache',
      tensorflowDir: '/tensorflow',
      dataDir: '/data',
      apiTokens: [
        { role: 'viewer', token: 'look' },
        { role: 'admin', token: 'all:of:it' },
      ],
      workerToken: 'work',
      tls: { cert: join(directory, 'cert'), key: join(directory, 'key'), ca: join(directory, 'ca') },
      reducers: 3,
      reducerAddresses: ['a.example:1', '[::1]:2', '10.0.0.3:65535'],
      sharedMemoryDir: undefined,
      stagingBytes: 64 * 2 ** 20,
      graceMs: 500,
      logLevel: 'debug',
      redisUrl: 'redis://:secret@localhost:6379/1',
      queuePrefix: 'test-1',
      bullBoard: true,
      maxRunningJobs: 2,
      advertisedUrl: 'https://trainer.example/lockstep',
      datasetAccess: {
        cacheDir: '/cache',
        datasetsFolder: '/data/datasets',
        cacheBytes: 5 * 2 ** 20,
        urlPrefixes: ['https://data.example/sets/', 's3://bucket'],
        s3: {
          endpoint: 'http://127.0.0.1:9000',
          region: 'eu-central-1',
          credentials: { accessKeyId: 'id', secretAccessKey: 'secret', sessionToken: 'session' },
        },
      },
    });
  });

  test('takes an empty variable for one that is not set', () => {
    expect(loadConfig({ LOCKSTEP_HTTP_PORT: '', LOCKSTEP_WORKER_TOKEN: ' ' })).toMatchObject({
      httpPort: 8080,
      workerToken: undefined,
    });
  });

  test('lists every problem, by variable and never by value', () => {
    const env = {
      LOCKSTEP_HTTP_PORT: '70123',
      LOCKSTEP_GRPC_PORT: 'fifty',
      LOCKSTEP_HTTP_HOST: 'http://x',
      LOCKSTEP_API_TOKENS: 'hunter2',
      LOCKSTEP_WORKER_TOKEN: 'sesame open',
      LOCKSTEP_REDUCERS: '1.5',
      LOCKSTEP_REDUCER_ADDRESSES: 'trainer.example',
      LOCKSTEP_GRACE_MS: '-3',
      LOCKSTEP_LOG_LEVEL: 'loudest',
      REDIS_URL: 'localhost:6379',
      LOCKSTEP_QUEUE_PREFIX: 'a:b',
      LOCKSTEP_BULL_BOARD: 'perhaps',
      LOCKSTEP_MAX_RUNNING_JOBS: '777',
      LOCKSTEP_TLS_CERT: '/no/such/file',
      LOCKSTEP_GRPC_HOST: '10.0.0.7',
    };
    const problems = problemsOf(env);
    expect(Object.keys(problems).sort()).toEqual(
      [...Object.keys(env).filter((name) => name !== 'LOCKSTEP_GRPC_HOST'), 'LOCKSTEP_TLS_KEY'].sort(),
    );
    const text = new ConfigError(Object.entries(problems).map(([variable, message]) => ({ variable, message })))
      .message;
    for (const value of Object.values(env)) expect(text).not.toContain(value);
  });

  test.each(['0.0.0.0', '::', '192.168.1.5', 'trainer.example'])(
    'refuses to listen on %s without tokens',
    (address) => {
      const problems = problemsOf({ LOCKSTEP_HTTP_HOST: address, LOCKSTEP_GRPC_HOST: address });
      expect(problems['LOCKSTEP_HTTP_HOST']).toContain('set LOCKSTEP_API_TOKENS');
      expect(problems['LOCKSTEP_GRPC_HOST']).toContain('set LOCKSTEP_WORKER_TOKEN');
    },
  );

  test.each(['127.0.0.1', '127.1.2.3', '::1', 'localhost'])('listens on %s without tokens', (address) => {
    expect(problemsOf({ LOCKSTEP_HTTP_HOST: address, LOCKSTEP_GRPC_HOST: address })).toEqual({});
  });

  test('advertises the name of this machine where gRPC listens everywhere', () => {
    const config = loadConfig({ LOCKSTEP_GRPC_HOST: '0.0.0.0', LOCKSTEP_WORKER_TOKEN: 'work' });
    expect(config.advertisedHost).not.toBe('0.0.0.0');
    expect(config.advertisedHost).not.toBe('');
  });

  test.each([
    ['root:abc', 'entry (number 1)'],
    ['admin:abc,viewer:', 'entry (number 2)'],
    [',', 'has no entry'],
    ['viewer:same,admin:same', 'the same token twice'],
  ])('refuses the token list %s', (list, message) => {
    expect(problemsOf({ LOCKSTEP_API_TOKENS: list })['LOCKSTEP_API_TOKENS']).toContain(message);
  });

  test('refuses a worker token that opens the API', () => {
    expect(problemsOf({ LOCKSTEP_API_TOKENS: 'admin:x', LOCKSTEP_WORKER_TOKEN: 'x' })).toHaveProperty(
      'LOCKSTEP_WORKER_TOKEN',
    );
  });

  test.each(['a:1', 'a:1,b:2,c:3', 'a:1,b:65536', 'a:1,', 'http://a:1,b:2'])(
    'refuses the reducer addresses %s for two slices',
    (list) => {
      const problems = problemsOf({ LOCKSTEP_REDUCERS: '2', LOCKSTEP_REDUCER_ADDRESSES: list });
      expect(Object.keys(problems)).toEqual(['LOCKSTEP_REDUCER_ADDRESSES']);
    },
  );

  test('refuses ports that collide or do not exist', () => {
    expect(problemsOf({ LOCKSTEP_HTTP_PORT: '50052', LOCKSTEP_REDUCERS: '2' })).toHaveProperty('LOCKSTEP_HTTP_PORT');
    expect(problemsOf({ LOCKSTEP_HTTP_PORT: '50054', LOCKSTEP_REDUCERS: '2' })).toEqual({});
    expect(problemsOf({ LOCKSTEP_GRPC_PORT: '65534', LOCKSTEP_REDUCERS: '2' })).toHaveProperty('LOCKSTEP_GRPC_PORT');
    expect(problemsOf({ LOCKSTEP_GRPC_PORT: '0', LOCKSTEP_HTTP_PORT: '0' })).toEqual({});
  });

  test('refuses half of a TLS pair and files that cannot be read', () => {
    const problems = problemsOf({ LOCKSTEP_TLS_KEY: '/no/such/key' });
    expect(problems).toEqual({
      LOCKSTEP_TLS_CERT: 'must be set too, as TLS needs both certificate and key',
      LOCKSTEP_TLS_KEY: 'names a file that cannot be read',
    });
  });
});
