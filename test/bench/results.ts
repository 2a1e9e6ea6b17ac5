// Keeps what benchmarks found in the documents that show it, each between the two marks that carry its name.
// Refuses to know what is in it.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

/** From dist/test/bench. */
const root = new URL('../../../', import.meta.url);
const documents = ['docs/results.md', 'docs/reliability.md', 'docs/numerics.md', 'docs/performance.md', 'README.md'];

/** Puts `text` in the place of what was found before, wherever a document has marks for this benchmark. */
export async function keepResult(name: string, text: string): Promise<void> {
  for (const document of documents) {
    const path = fileURLToPath(new URL(document, root));
    const before = readFileSync(path, 'utf8');
    const after = withResult(before, name, text);
    if (after === before) continue;
    const style = await resolveConfig(path);
    writeFileSync(path, await format(after, { ...style, filepath: path }));
  }
}

/** Unchanged where the document has no marks for it. */
function withResult(document: string, name: string, text: string): string {
  const begin = `<!-- bench ${name} -->`;
  const end = `<!-- bench ${name} end -->`;
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) return document;
  return `${document.slice(0, from)}${begin}\n\n${text.trim()}\n\n${document.slice(to)}`;
}
