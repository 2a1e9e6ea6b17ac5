// A job spec as the user gives it: a JSON or YAML file, or a preset's name, with `--set path=value` on top.
// Refuses to know which fields exist and what they mean: the coordinator validates the spec.
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { sentenceOf, WrongUsage } from './exit.js';

export type SpecObject = { [field: string]: unknown };

export interface SpecSource {
  readonly file?: string | undefined;
  readonly preset?: string | undefined;
  /** As typed after `--set`, in order; later ones win. */
  readonly set: readonly string[];
}

/** The spec to submit, not resolved. Throws `WrongUsage` with one sentence that names the file or the setting. */
export function specFrom(source: SpecSource): SpecObject {
  if ((source.file === undefined) === (source.preset === undefined)) {
    throw new WrongUsage('Give either a spec FILE or --preset NAME, not both and not neither.');
  }
  const spec = source.file === undefined ? { preset: source.preset } : readSpecFile(source.file);
  for (const setting of source.set) {
    applySetting(spec, setting);
  }
  refuseNotFinite(spec, '');
  return spec;
}

function readSpecFile(file: string): SpecObject {
  const parse = parserFor(file);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw new WrongUsage(
      `${file}: ${code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code ?? sentenceOf(error)})`}.`,
    );
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new WrongUsage(`${file}: ${firstLine(sentenceOf(error))}.`);
  }
  if (!isObject(value)) {
    throw new WrongUsage(`${file}: a job spec is an object with fields such as "preset", "model" and "training".`);
  }
  return value;
}

function parserFor(file: string): (text: string) => unknown {
  const extension = extname(file).toLowerCase();
  if (extension === '.json') {
    return (text) => JSON.parse(text) as unknown;
  }
  if (extension === '.yaml' || extension === '.yml') {
    return (text) => parseYaml(text) as unknown;
  }
  throw new WrongUsage(`${file}: a job spec is a .json, .yaml or .yml file.`);
}

/** Puts one `path=value` into the spec, making the objects on the way. */
export function applySetting(spec: SpecObject, setting: string): void {
  const equals = setting.indexOf('=');
  const path = setting.slice(0, Math.max(0, equals)).trim();
  if (path === '') {
    throw new WrongUsage(`--set ${setting}: write it as path=value, such as --set training.epochs=1.`);
  }
  const fields = path.split('.');
  const known: string[] = [];
  let target = spec;
  for (const [index, field] of fields.entries()) {
    checkField(field, setting, known);
    known.push(field);
    if (index === fields.length - 1) {
      target[field] = parseValue(setting.slice(equals + 1));
      return;
    }
    const next = Object.hasOwn(target, field) ? target[field] : undefined;
    if (next !== undefined && next !== null && !isObject(next)) {
      throw new WrongUsage(
        `--set ${setting}: ${known.join('.')} is not an object, so it has no field ${fields[index + 1]}.`,
      );
    }
    const object = isObject(next) ? next : {};
    target[field] = object;
    target = object;
  }
}

function checkField(field: string, setting: string, before: readonly string[]): void {
  const list = before.join('.');
  if (/^\d+$/.test(field) || field.includes('[')) {
    const name = list === '' ? field.slice(0, field.indexOf('[')) || 'the list' : list;
    throw new WrongUsage(
      `--set ${setting}: a list cannot be set by index; give it whole, such as --set '${name}=[30,60]'.`,
    );
  }
  if (field === '' || field === '__proto__') {
    throw new WrongUsage(`--set ${setting}: "${field}" is not the name of a field.`);
  }
}

/** JSON where it parses as such, else the text itself, so that quotes are needed for neither numbers nor names. */
function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // Not JSON: a plain string such as a preset's or an architecture's name.
    return text;
  }
}

/** JSON would turn them into `null` on the way and the coordinator's sentence would puzzle. */
function refuseNotFinite(value: unknown, path: string): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new WrongUsage(`${path}: ${value} is not a finite number.`);
  }
  if (typeof value === 'object' && value !== null) {
    for (const [field, inner] of Object.entries(value)) {
      refuseNotFinite(inner, path === '' ? field : `${path}.${field}`);
    }
  }
}

function isObject(value: unknown): value is SpecObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').replace(/[.:\s]+$/, '');
}
