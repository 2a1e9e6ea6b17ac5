// From a clean clone to a running command: npm packages and build where they are missing or stale, then the command.
// Plain JavaScript without dependencies, since it runs before anything is installed. Refuses to know what commands do.
//   node scripts/bootstrap.mjs demo | up | test [--long] | test:device | bench [arguments]
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cli = 'dist/apps/coordinator/src/cli/main.js';
const prepare = ['dist/test/support/prepare.js'];

/** What each command runs once all is built: lists of arguments for node, one after the other. */
const commands = {
  demo: (args) => [[cli, 'demo', ...args]],
  up: (args) => [[cli, 'up', ...args]],
  test: (args) => [prepare, ['node_modules/vitest/vitest.mjs', 'run', ...testArguments(args)]],
  // Sets up what it needs itself: TensorFlow for the device, and nothing else.
  'test:device': (args) => [['dist/test/device/main.js', ...args]],
  bench: (args) => [prepare, ['dist/test/bench/main.js', ...args]],
};

/** `--long` asks for the tests that take longer than people wait; without it, and unless projects are named, the others run. */
function testArguments(args) {
  const rest = args.filter((arg) => arg !== '--long');
  if (rest.length < args.length) return ['--project', 'long', ...rest];
  return rest.some((arg) => arg.startsWith('--project')) ? rest : ['--project', 'unit', '--project', 'system', ...rest];
}

/** What the build reads, from the repository's root. Made files among them are left out. */
const buildInputs = [
  'apps',
  'libs',
  'proto',
  'test',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'vitest.config.ts',
];
const madeFolders = new Set(['node_modules', 'dist', 'generated']);

let current;
let stopSignal;

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function main([name, ...args]) {
  const command = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined;
  if (command === undefined) {
    console.error(`Usage: node scripts/bootstrap.mjs ${Object.keys(commands).join('|')} [arguments]`);
    return 2;
  }
  requireNode();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => passOn(signal));
  const unlock = await lockClone();
  try {
    await installPackages();
    await build();
  } finally {
    unlock();
  }
  for (const nodeArguments of command(args)) {
    endIfStopped();
    const code = await run(process.execPath, nodeArguments, 'inherit');
    if (code !== 0) return code;
  }
  return 0;
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if ((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24) return;
  throw new Error(
    `Lockstep needs Node 20.19, 22.12, 24 or newer; this is ${process.versions.node}. Install one of them.`,
  );
}

/** Installs npm packages unless what is installed is what the lockfile asks for. */
async function installPackages() {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const stamp = join(root, 'node_modules', '.lockstep-install');
  const wanted = digest(lock);
  if (readIfThere(stamp) === wanted) return;
  if (!isInstalled(lock)) {
    console.error('Installing npm packages …');
    // Progress and warnings on stderr: stdout belongs to the command.
    const code = await run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel', 'error'], ['ignore', 2, 2]);
    endIfStopped();
    if (code !== 0) {
      throw new Error(
        `npm ci failed (exit code ${code}). Check the network and npm's registry and proxy settings, then try again.`,
      );
    }
  }
  writeFileSync(stamp, wanted);
}

/** Whether an installation by somebody else (`npm ci` by hand) matches: npm lists in a file what it installed. */
function isInstalled(lock) {
  const listed = readIfThere(join(root, 'node_modules', '.package-lock.json'));
  if (listed === undefined) return false;
  const present = JSON.parse(listed).packages;
  return Object.entries(JSON.parse(lock).packages).every(
    ([path, { version, optional, devOptional }]) =>
      path === '' || present[path]?.version === version || ((optional || devOptional) && present[path] === undefined),
  );
}

/** Builds unless what is built came from these very sources. */
async function build() {
  const stamp = join(root, 'dist', '.lockstep-build');
  const wanted = sourcesDigest();
  if (readIfThere(stamp) === wanted && existsSync(join(root, cli))) return;
  console.error('Building (about half a minute) …');
  const code = await run('npm', ['run', '--silent', 'build'], ['ignore', 2, 2]);
  endIfStopped();
  if (code !== 0) throw new Error(`The build failed (exit code ${code}); what it said is above.`);
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, wanted);
}

function sourcesDigest() {
  const hash = createHash('sha256').update(process.versions.node.split('.')[0]);
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) if (!madeFolders.has(name)) add(join(path, name));
    } else {
      hash.update(path).update('\0').update(readFileSync(full)).update('\0');
    }
  };
  for (const path of buildInputs) add(path);
  return hash.digest('hex');
}

/** Two commands at once in one clone: the second waits here. The kernel drops the lock however its holder ends. */
async function lockClone() {
  const { dev, ino } = statSync(root, { bigint: true });
  const path = `\0lockstep-bootstrap-${digest(`${dev}:${ino}`).slice(0, 32)}`;
  for (let told = false; ; told = true) {
    const server = createServer((socket) => socket.destroy());
    const free = await new Promise((resolve) => {
      // Abstract sockets are Linux's; elsewhere there is no lock.
      server.once('error', (error) => resolve(error.code !== 'EADDRINUSE'));
      server.listen({ path }, () => resolve(true));
    });
    if (free) return () => server.close();
    if (!told) console.error('Waiting for another command that is installing or building in this clone …');
    await new Promise((resolve) => setTimeout(resolve, 300));
    endIfStopped();
  }
}

/** Runs a program to its end and returns its exit code. */
async function run(program, args, stdio) {
  const code = await new Promise((resolve, reject) => {
    current = spawn(program, args, { cwd: root, stdio });
    current.once('error', (error) => {
      reject(new Error(error.code === 'ENOENT' ? `${program} is not on the search path. Install it.` : error.message));
    });
    current.once('exit', (exitCode, signal) => resolve(exitCode ?? 128 + constants.signals[signal]));
  });
  current = undefined;
  return code;
}

/** After a signal nothing more is begun. The command that was running decides on its exit code itself. */
function endIfStopped() {
  if (stopSignal !== undefined) process.exit(128 + constants.signals[stopSignal]);
}

/** A terminal sends Ctrl-C to every process of the group itself; otherwise the child would not hear of the signal. */
function passOn(signal) {
  const first = stopSignal === undefined;
  stopSignal ??= signal;
  if (current === undefined || !first) return;
  if (signal === 'SIGINT' && process.stdin.isTTY) return;
  current.kill(signal);
}

function digest(text) {
  return createHash('sha256').update(text).digest('hex');
}

function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
