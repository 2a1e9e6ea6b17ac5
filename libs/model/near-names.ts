// Owns: which known names a mistyped one may have meant, for error messages.
// Refuses to know: what the names stand for.

/** Up to three of `names` within a few edits of `wanted`, or starting with it; the nearest first. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const lower = wanted.toLowerCase();
  const limit = Math.max(1, Math.min(4, Math.floor(wanted.length / 2)));
  return names
    .map((name) => ({
      name,
      distance: lower !== '' && name.startsWith(lower) ? 0.5 : editDistance(lower, name.toLowerCase()),
    }))
    .filter(({ distance }) => distance <= limit)
    .sort((one, other) => one.distance - other.distance || names.indexOf(one.name) - names.indexOf(other.name))
    .slice(0, 3)
    .map(({ name }) => name);
}

/** "a", "a or b", "a, b or c". */
export function alternatives(names: readonly string[]): string {
  if (names.length <= 1) return names.join('');
  return `${names.slice(0, -1).join(', ')} or ${names.at(-1)!}`;
}

/** Levenshtein's distance, row by row. */
function editDistance(one: string, other: string): number {
  let above = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let row = 1; row <= one.length; row++) {
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const replaced = above[column - 1]! + (one[row - 1] === other[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, above[column]! + 1, current[column - 1]! + 1));
    }
    above = current;
  }
  return above[other.length]!;
}
