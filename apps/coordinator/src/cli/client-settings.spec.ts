import { describe, expect, it } from 'vitest';
import { refusalText } from './api.js';
import { clientSettings } from './client-settings.js';

describe('clientSettings', () => {
  it('looks for the coordinator in this order: option, LOCKSTEP_URL, this machine', () => {
    expect(clientSettings({}, undefined).baseUrl).toBe('http://127.0.0.1:8080');
    expect(clientSettings({ LOCKSTEP_HTTP_PORT: '9000' }, undefined).baseUrl).toBe('http://127.0.0.1:9000');
    expect(clientSettings({ LOCKSTEP_HTTP_PORT: '9000', LOCKSTEP_URL: 'https://a.b/' }, undefined).baseUrl).toBe(
      'https://a.b',
    );
    expect(clientSettings({ LOCKSTEP_URL: 'https://a.b' }, 'http://c:1/x/').baseUrl).toBe('http://c:1/x');
  });

  it('refuses what is no address, naming where it came from', () => {
    expect(() => clientSettings({}, 'localhost:8080')).toThrow(/^--url: /);
    expect(() => clientSettings({ LOCKSTEP_URL: 'nonsense' }, undefined)).toThrow(/^LOCKSTEP_URL: /);
  });

  it('takes its own token, else the server’s first admin token', () => {
    expect(clientSettings({}, undefined).token).toBeUndefined();
    const LOCKSTEP_API_TOKENS = 'viewer:v, admin:a:b ,admin:c';
    expect(clientSettings({ LOCKSTEP_API_TOKENS }, undefined).token).toBe('a:b');
    expect(clientSettings({ LOCKSTEP_API_TOKENS, LOCKSTEP_API_TOKEN: 'mine' }, undefined).token).toBe('mine');
    expect(clientSettings({ LOCKSTEP_API_TOKENS: 'viewer:v' }, undefined).token).toBeUndefined();
  });
});

describe('refusalText', () => {
  it('is a sentence per error of a problem document', () => {
    const errors = [
      { path: 'training.epochs', message: 'must be positive' },
      { path: '', message: 'must be an object' },
    ];
    expect(refusalText(422, JSON.stringify({ title: 'Bad spec', errors }))).toBe(
      'training.epochs: must be positive\nmust be an object',
    );
    expect(refusalText(404, JSON.stringify({ title: 'Not found', detail: 'There is no job 7.' }))).toBe(
      'There is no job 7.',
    );
    expect(refusalText(502, '<html>')).toBe('The coordinator answered with status 502.');
    expect(refusalText(401, '{"detail":"No token."}')).toMatch(/^No token\.\nSet LOCKSTEP_API_TOKEN/);
  });
});
