// Keeps the npm table of THIRD_PARTY_LICENSES.md true: the packages that run with Lockstep, with version and licence.
// Refuses to know what is not from npm; those paragraphs are written by hand.
//   node scripts/licences.mjs [--check]      --check changes nothing and exits 1 when the table is out of date
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const file = 'THIRD_PARTY_LICENSES.md';
const begin = '<!-- made by scripts/licences.mjs: begin -->';
const end = '<!-- made by scripts/licences.mjs: end -->';

/** Development packages whose code the dashboard's bundle contains. */
const bundled = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'];

/** Packages that name no licence in package.json; read from their licence files. */
const known = { busboy: 'MIT', streamsearch: 'MIT' };

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const rows = new Set();
const unnamed = [];
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue;
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if ((entry.dev || entry.devOptional) && !bundled.includes(name)) continue;
  const licence = entry.license ?? licenceOnDisk(path) ?? known[name] ?? licenceOfSibling(name, entry.version);
  if (licence === undefined) unnamed.push(`${name} ${entry.version}`);
  rows.add(`| ${name} | ${entry.version} | ${licence} |`);
}
if (unnamed.length > 0) {
  console.error(`No licence is named by ${unnamed.join(', ')}: read their files and add them in scripts/licences.mjs.`);
  process.exit(1);
}

const table = [
  '| package | version | licence |',
  '|---|---|---|',
  ...[...rows].toSorted((a, b) => (a < b ? -1 : 1)),
].join('\n');
const text = readFileSync(file, 'utf8');
const from = text.indexOf(begin);
const to = text.indexOf(end);
if (from < 0 || to < from) {
  console.error(`${file} lacks the lines "${begin}" and "${end}".`);
  process.exit(1);
}
const wanted = `${text.slice(0, from + begin.length)}\n\n${table}\n\n${text.slice(to)}`;
if (wanted !== text) {
  if (process.argv.includes('--check')) {
    console.error(`The table of ${file} is out of date: run "node scripts/licences.mjs".`);
    process.exit(1);
  }
  writeFileSync(file, wanted);
}

/** Licence of an installed package, where the lockfile does not know it. */
function licenceOnDisk(path) {
  const manifest = `${path}/package.json`;
  if (!existsSync(manifest)) return undefined;
  const { license, licenses } = JSON.parse(readFileSync(manifest, 'utf8'));
  const named = license ?? licenses?.[0];
  return typeof named === 'string' ? named : named?.type;
}

/** Binaries for other platforms are not installed; the one for this platform has the same scope, version and licence. */
function licenceOfSibling(name, version) {
  const scope = `/${name.slice(0, name.indexOf('/') + 1)}`;
  const sibling = Object.entries(lock.packages).find(
    ([path, entry]) =>
      scope !== '/' && path.includes(scope) && entry.version === version && entry.license !== undefined,
  );
  return sibling?.[1].license;
}
