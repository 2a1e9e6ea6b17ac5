// Stand-in for set-up: everything is there.
import { fileURLToPath } from 'node:url';

export async function setup({ redisUrl }) {
  const queue =
    redisUrl === undefined
      ? {
          kind: 'binary',
          binary: {
            path: fileURLToPath(new URL('../../../../valkey-server.js', import.meta.url)),
            version: '0',
            source: 'cache',
          },
        }
      : { kind: 'running', url: redisUrl };
  return { library: { flavour: 'cpu', libraryDir: '/nowhere' }, addon: { path: '/nowhere' }, queue, unchanged: true };
}
