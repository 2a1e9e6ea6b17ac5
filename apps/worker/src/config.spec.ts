import { describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, tensorflowEnvironment } from './config.js';

describe('loadConfig', () => {
  it('has a default for everything', () => {
    expect(loadConfig({})).toMatchObject({
      coordinator: '127.0.0.1:50051',
      redisUrl: 'redis://127.0.0.1:6379',
      threads: 1,
      graceMs: 8000,
      token: undefined,
      tls: undefined,
      logLevel: 'info',
      exitWithParent: false,
    });
  });

  it('takes empty variables for absent ones', () => {
    expect(loadConfig({ LOCKSTEP_THREADS: '', LOCKSTEP_WORKER_TOKEN: '' })).toMatchObject({
      threads: 1,
      token: undefined,
    });
  });

  it('lists all problems by name and never by value', () => {
    const env = { LOCKSTEP_THREADS: 'zero', LOCKSTEP_COORDINATOR: 'secret', LOCKSTEP_TLS_KEY: 'k.pem' };
    expect(() => loadConfig(env)).toThrow(ConfigError);
    expect(() => loadConfig(env)).toThrow(
      'The worker cannot start: LOCKSTEP_COORDINATOR must be host:port; LOCKSTEP_THREADS must be a whole number; ' +
        'LOCKSTEP_TLS_CERT and LOCKSTEP_TLS_KEY must be set together.',
    );
  });

  it('refuses no threads', () => {
    expect(() => loadConfig({ LOCKSTEP_THREADS: '0' })).toThrow('LOCKSTEP_THREADS must be 1 or more');
  });
});

describe('tensorflowEnvironment', () => {
  it('fixes what changes kernels', () => {
    expect(tensorflowEnvironment(3)).toMatchObject({
      TF_NUM_INTRAOP_THREADS: '3',
      TF_NUM_INTEROP_THREADS: '1',
      TF_DETERMINISTIC_OPS: '1',
      TF_ENABLE_ONEDNN_OPTS: '1',
    });
  });
});
