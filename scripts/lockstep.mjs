#!/usr/bin/env node
// `lockstep` as package.json's bin: a committed file, so that npm can link it before anything is built, and a build keeps its mode.
// Refuses to know what the command does.
import { existsSync } from 'node:fs';

const cli = new URL('../dist/apps/coordinator/src/cli/main.js', import.meta.url);

if (existsSync(cli)) {
  await import(cli.href);
} else {
  console.error(
    'Lockstep is not built in this clone yet: run `npm ci && npm run build`, or `npm run demo`, which does all of it.',
  );
  process.exitCode = 2;
}
