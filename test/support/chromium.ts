// Finds a Chromium that runs headless here: an installed one, else the one that @sparticuz/chromium carries.
// Refuses to know what is tested with it. Its path is all that playwright-core needs.
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, resolve } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const installedNames = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Flags with which Chromium starts headless in a container, as root too. */
export const chromiumArgs = ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-zygote'];

/**
 * Path of a Chromium that answers `--version`. The packaged one is unpacked into the cache the first time (190 MB, a few
 * seconds) together with the shared libraries that a bare machine lacks. Throws where none runs, saying why.
 */
export async function findChromium(cacheDir: string): Promise<string> {
  for (const name of installedNames) {
    const path = findOnPath(name);
    if (path !== undefined && complaintOf(path) === undefined) return path;
  }
  const path = unpackPackaged(cacheDir);
  const complaint = complaintOf(path);
  if (complaint !== undefined) {
    throw new Error(
      `The packaged Chromium does not run (${complaint}). Install one (Debian: apt-get install chromium) to run the browser tests.`,
    );
  }
  return path;
}

function findOnPath(name: string): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: the next one may have it.
    }
  }
  return undefined;
}

/** Why a browser does not start; undefined where it does. */
function complaintOf(path: string): string | undefined {
  const result = spawnSync(path, ['--version', ...chromiumArgs], { encoding: 'utf8', timeout: 30_000 });
  if (result.status === 0 && /\d+\.\d+/.test(result.stdout)) return undefined;
  return result.error?.message ?? (result.stderr.trim().split('\n').at(-1) || `exit code ${result.status}`);
}

function unpackPackaged(cacheDirectory: string): string {
  const cacheDir = resolve(cacheDirectory);
  const packageDir = dirname(dirname(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium'))));
  const { version } = JSON.parse(readFileSync(join(packageDir, 'package.json'), 'utf8')) as { version: string };
  const folder = join(cacheDir, `chromium-${version}`);
  const launcher = join(folder, 'chromium');
  if (existsSync(launcher)) return launcher;
  const draft = `${folder}.${process.pid}`;
  mkdirSync(join(draft, 'lib'), { recursive: true });
  try {
    const packed = (name: string): Buffer => brotliDecompressSync(readFileSync(join(packageDir, 'bin', name)));
    writeFileSync(join(draft, 'chromium-binary'), packed('chromium.br'));
    chmodSync(join(draft, 'chromium-binary'), 0o755);
    // NSS, NSPR and expat, which Chromium links to and bare machines lack.
    for (const [path, content] of tarFiles(packed('al2023.tar.br'))) {
      if (path.startsWith('lib/')) writeFileSync(join(draft, path), content);
    }
    for (const [path, content] of tarFiles(packed('fonts.tar.br'))) {
      mkdirSync(dirname(join(draft, path)), { recursive: true });
      writeFileSync(join(draft, path), content);
    }
    // The package's own fonts.conf names folders of another kind of machine.
    const directories = [join(folder, 'fonts'), '/usr/share/fonts'].map((path) => `<dir>${path}</dir>`).join('');
    const fonts = `<fontconfig>${directories}<cachedir>${join(folder, 'font-cache')}</cachedir></fontconfig>\n`;
    writeFileSync(join(draft, 'fonts.conf'), fonts);
    const script = [
      '#!/bin/sh',
      'here=$(dirname "$(readlink -f "$0")")',
      'export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"',
      'export FONTCONFIG_FILE="$here/fonts.conf"',
      'exec "$here/chromium-binary" "$@"',
    ];
    writeFileSync(join(draft, 'chromium'), `${script.join('\n')}\n`, { mode: 0o755 });
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    // Another test process may have been quicker; its result is as good.
    if (!existsSync(launcher)) throw error;
  }
  return launcher;
}

/** Plain files of a small tar archive. */
function* tarFiles(archive: Buffer): Generator<[string, Buffer]> {
  for (let at = 0; at + 512 <= archive.length && archive[at] !== 0;) {
    const name = archive.toString('utf8', at, archive.indexOf(0, at));
    const size = parseInt(archive.toString('latin1', at + 124, at + 136).trim(), 8);
    const kind = archive[at + 156];
    if (kind === 0x30 || kind === 0) yield [name, archive.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}
