import { expect, it } from 'vitest';
import { joinText } from './join-text.js';

const facts = { grpcHost: '127.0.0.1', grpcPort: 50051, redisUrl: 'redis://127.0.0.1:40123', withToken: false };

it('gives a command that works in another terminal', () => {
  expect(joinText(facts)).toBe('more workers on this machine: REDIS_URL=redis://127.0.0.1:40123 npx lockstep worker');
  expect(joinText({ ...facts, grpcPort: 50060 })).toContain(
    'REDIS_URL=redis://127.0.0.1:40123 LOCKSTEP_COORDINATOR=127.0.0.1:50060 npx lockstep worker',
  );
  expect(joinText({ ...facts, grpcHost: '::1' })).toContain('LOCKSTEP_COORDINATOR=[::1]:50051 ');
});

it('shows neither a password nor a token', () => {
  const text = joinText({ ...facts, redisUrl: 'redis://:hush@127.0.0.1:6379', withToken: true });
  expect(text).toContain('REDIS_URL=… LOCKSTEP_WORKER_TOKEN=… npx lockstep worker');
});

it('sends workers elsewhere to an address that is not loopback alone', () => {
  const open = { ...facts, grpcHost: '0.0.0.0', withToken: true };
  expect(joinText({ ...open, redisUrl: 'redis://queue:6379' })).toBe('workers elsewhere join at 0.0.0.0:50051');
  expect(joinText(open)).toBe(
    'workers elsewhere join at 0.0.0.0:50051 once REDIS_URL names a Redis that they reach, too',
  );
});
