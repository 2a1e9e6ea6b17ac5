// The CLI compiled into a folder of its own, beside stand-ins for the programs that it starts, so that specs can run
// the real `lockstep` as processes. What is tested is the CLI; set-up, coordinator, worker and Valkey are the stand-ins.
// Refuses to know what the specs check.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../../../../../', import.meta.url));
const standIns = fileURLToPath(new URL('stand-ins/', import.meta.url));
/** Folders, with all that is below them. */
const sources = ['apps/coordinator/src', 'apps/coordinator/dashboard/state', 'libs/model', 'libs/proto'];

export interface CompiledTree {
  /** Compiled `cli/main.js`. */
  readonly cli: string;
  /** An empty folder for a spec's data. */
  dataDir(name: string): string;
  remove(): void;
}

export function compileTree(): CompiledTree {
  const folder = mkdtempSync(join(tmpdir(), 'lockstep-cli-'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  write(
    join(folder, 'package.json'),
    '{"type":"module","version":"0.0.0","imports":{"#model/*.js":"./libs/model/*.js","#proto/*.js":"./libs/proto/*.js"}}',
  );
  for (const source of sources) {
    for (const name of readdirSync(join(root, source), { recursive: true, encoding: 'utf8' })) {
      if (/(?<!\.spec|\.d)\.ts$/.test(name))
        compile(join(root, source, name), join(folder, source, name.replace(/\.ts$/, '.js')));
    }
  }
  const place = (name: string, path: string): void =>
    write(join(folder, path), readFileSync(join(standIns, name), 'utf8').replaceAll('@REPORT@', reportImport(path)));
  place('report.mjs', 'report.js');
  place('coordinator.mjs', 'apps/coordinator/src/main.js');
  place('worker.mjs', 'apps/worker/src/main.js');
  place('setup.mjs', 'apps/coordinator/src/setup/setup.js');
  place('cifar10.mjs', 'apps/coordinator/src/setup/cifar10.js');
  place('valkey.mjs', 'valkey-server.js');
  chmodSync(join(folder, 'valkey-server.js'), 0o755);
  return {
    cli: join(folder, 'apps/coordinator/src/cli/main.js'),
    dataDir: (name) => join(folder, 'data', name),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function reportImport(path: string): string {
  const way = relative(dirname(path), 'report.js');
  return way.startsWith('.') ? way : `./${way}`;
}

function compile(from: string, to: string): void {
  const { outputText } = ts.transpileModule(readFileSync(from, 'utf8'), {
    fileName: from,
    compilerOptions: {
      target: ts.ScriptTarget.ES2023,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  });
  write(to, outputText);
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
