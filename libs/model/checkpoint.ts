// Owns: checkpoints: a folder per step that is complete or absent, with hashes that are checked on reading.
// Refuses to know: when to save. All of it is synchronous file work, meant for a thread of its own.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { bytesOf, syncFolder, writeFileDurably } from './durable-files.js';
import { checkpointName, listCheckpoints, removeCheckpoint } from './checkpoint-folders.js';
import { parseManifest, type CheckpointManifest } from './checkpoint-manifest.js';
import { loadModelTensors, loadMomentumTensors, modelTensors, momentumTensors } from './model-tensors.js';
import { layoutOf, type ParameterLayout } from './parameters.js';
import { parseSafetensors, writeSafetensors, type SafetensorsFile } from './safetensors.js';
import type { ScheduleState } from './schedule.js';

export { checkpointName, listCheckpoints, pruneCheckpoints } from './checkpoint-folders.js';
export type { CheckpointManifest } from './checkpoint-manifest.js';

/** The state between two steps, as flat vectors in the layout's order. */
export interface TrainingState {
  readonly parameters: Float32Array;
  readonly momentum: Float32Array;
  readonly statistics: Float32Array;
  readonly scheduleState: ScheduleState;
}

/** What the caller tells about a checkpoint; hashes and files are filled in when it is written. */
export type CheckpointFacts = Omit<
  CheckpointManifest,
  'format' | 'stateSha256' | 'parametersSha256' | 'layoutHash' | 'scheduleState' | 'files'
>;

/** A checkpoint that cannot be written or read; the message says which file, what is wrong and what to do. */
export class CheckpointError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CheckpointError';
  }
}

export const MODEL_FILE = 'model.safetensors';
export const OPTIMIZER_FILE = 'optimizer.safetensors';
export const MANIFEST_FILE = 'manifest.json';
/** Key of a safetensors header's metadata under which files carry their net's spec as JSON. */
export const MODEL_METADATA = 'lockstep.model';

/** SHA-256 in hex over the flat little-endian float32 parameters in layout order. */
export function parametersSha256(parameters: Float32Array): string {
  return createHash('sha256').update(bytesOf(parameters)).digest('hex');
}

/** SHA-256 in hex over parameters, momentum, running statistics and schedule state; nothing that depends on time or place. */
export function stateSha256(state: TrainingState): string {
  const hash = createHash('sha256');
  for (const part of ['parameters', 'momentum', 'statistics'] as const) {
    hash.update(`${part} ${state[part].length}\n`);
    hash.update(bytesOf(state[part]));
  }
  hash.update(`schedule ${JSON.stringify(state.scheduleState, Object.keys(state.scheduleState).sort())}\n`);
  return hash.digest('hex');
}

/**
 * Writes `<folder>/step-<8 digits>`: files beside, synced, then one rename. One that is there already with the same state is
 * left as it is (a step that was run again after a restart); one with another state is replaced.
 *
 * @param folder the job's checkpoints folder; made if missing
 * @returns the manifest and where the checkpoint is
 * @throws CheckpointError if the disk refuses; nothing is left behind then
 */
export function writeCheckpoint(
  folder: string,
  layout: ParameterLayout,
  state: TrainingState,
  facts: CheckpointFacts,
): { path: string; manifest: CheckpointManifest } {
  const target = path.join(folder, checkpointName(facts.step));
  const hashes = { parametersSha256: parametersSha256(state.parameters), stateSha256: stateSha256(state) };
  const temporary = path.join(folder, `.writing-${checkpointName(facts.step)}-${process.pid}`);
  try {
    mkdirSync(folder, { recursive: true });
    const present = presentManifest(target);
    if (present?.stateSha256 === hashes.stateSha256) return { path: target, manifest: present };
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary);
    const about = {
      format: 'lockstep',
      step: String(facts.step),
      layoutHash: layout.hash,
      [MODEL_METADATA]: JSON.stringify(facts.spec.model),
    };
    const model = writeSafetensors(
      path.join(temporary, MODEL_FILE),
      modelTensors(layout, state.parameters, state.statistics),
      about,
    );
    const optimizer = writeSafetensors(
      path.join(temporary, OPTIMIZER_FILE),
      momentumTensors(layout, state.momentum),
      about,
    );
    const manifest: CheckpointManifest = {
      format: 1,
      ...facts,
      layoutHash: layout.hash,
      ...hashes,
      scheduleState: state.scheduleState,
      files: { [MODEL_FILE]: model, [OPTIMIZER_FILE]: optimizer },
    };
    const text = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
    writeFileDurably(path.join(temporary, MANIFEST_FILE), (write) => write(text));
    syncFolder(temporary);
    removeCheckpoint(folder, checkpointName(facts.step));
    renameSync(temporary, target);
    syncFolder(folder);
    return { path: target, manifest };
  } catch (cause) {
    if (isFolder(temporary)) rmSync(temporary, { recursive: true, force: true });
    throw new CheckpointError(`checkpoint ${target} cannot be written: ${reasonOf(cause)}; ${remedyOf(cause)}`, {
      cause,
    });
  }
}

/** The manifest of a checkpoint whose files are there in full size; their contents are not read. */
export function readManifest(checkpoint: string): CheckpointManifest {
  const file = path.join(checkpoint, MANIFEST_FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new CheckpointError(
      `${checkpoint} is not a checkpoint: ${MANIFEST_FILE} cannot be read (${reasonOf(cause)})`,
      { cause },
    );
  }
  const parsed = parseManifest(text);
  if (typeof parsed === 'string') throw new CheckpointError(`${file} is damaged: ${parsed}; use another checkpoint`);
  for (const [name, { bytes }] of Object.entries(parsed.files)) {
    const found = sizeOf(path.join(checkpoint, name));
    if (found === bytes) continue;
    const problem = found === undefined ? 'is missing' : `has ${found} bytes, not ${bytes}`;
    throw new CheckpointError(`${path.join(checkpoint, name)} ${problem}; use another checkpoint`);
  }
  return parsed;
}

/**
 * Reads a checkpoint and verifies every hash.
 *
 * @param layout of `manifest.spec.model`
 * @param into where the vectors go, e.g. arrays on shared memory; made if left out
 * @throws CheckpointError naming what is wrong
 */
export function readCheckpoint(
  checkpoint: string,
  layout: ParameterLayout,
  into: Omit<TrainingState, 'scheduleState'> = emptyState(layout),
): { manifest: CheckpointManifest; state: TrainingState } {
  const manifest = readManifest(checkpoint);
  if (manifest.layoutHash !== layout.hash) {
    throw new CheckpointError(
      `${checkpoint} belongs to another network: its layout hash is ${manifest.layoutHash}, not ${layout.hash}`,
    );
  }
  try {
    // One file at a time: its bytes are free again before the next is read.
    const model = path.join(checkpoint, MODEL_FILE);
    loadModelTensors(layout, verifiedTensors(model, manifest), into.parameters, into.statistics, model);
    const optimizer = path.join(checkpoint, OPTIMIZER_FILE);
    loadMomentumTensors(layout, verifiedTensors(optimizer, manifest), into.momentum, optimizer);
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    throw new CheckpointError(`${reasonOf(cause)}; use another checkpoint`, { cause });
  }
  const { parameters, momentum, statistics } = into;
  const state = { parameters, momentum, statistics, scheduleState: manifest.scheduleState };
  if (parametersSha256(parameters) !== manifest.parametersSha256 || stateSha256(state) !== manifest.stateSha256) {
    throw new CheckpointError(`${checkpoint} does not hold the state that its manifest names; use another checkpoint`);
  }
  return { manifest, state };
}

/**
 * Reads what a checkpoint's net computes with, and verifies its hashes; momentum is left alone.
 *
 * @throws CheckpointError naming what is wrong
 */
export function readCheckpointModel(checkpoint: string): {
  manifest: CheckpointManifest;
  parameters: Float32Array;
  statistics: Float32Array;
} {
  const manifest = readManifest(checkpoint);
  const layout = layoutOf(manifest.spec.model);
  const parameters = new Float32Array(layout.parameterCount);
  const statistics = new Float32Array(layout.statisticCount);
  const file = path.join(checkpoint, MODEL_FILE);
  try {
    loadModelTensors(layout, verifiedTensors(file, manifest), parameters, statistics, file);
  } catch (cause) {
    if (cause instanceof CheckpointError) throw cause;
    throw new CheckpointError(`${reasonOf(cause)}; use another checkpoint`, { cause });
  }
  return { manifest, parameters, statistics };
}

/**
 * The newest checkpoint that is whole; damaged ones are passed over and told.
 *
 * @returns undefined where there is none, with the problems of those that are damaged
 */
export function readNewestCheckpoint(
  folder: string,
  layout: ParameterLayout,
  into?: Omit<TrainingState, 'scheduleState'>,
): { found: { path: string; manifest: CheckpointManifest; state: TrainingState } | undefined; problems: string[] } {
  const problems: string[] = [];
  for (const checkpoint of listCheckpoints(folder).reverse()) {
    try {
      return { found: { path: checkpoint.path, ...readCheckpoint(checkpoint.path, layout, into) }, problems };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      problems.push(error.message);
    }
  }
  return { found: undefined, problems };
}

function emptyState(layout: ParameterLayout): Omit<TrainingState, 'scheduleState'> {
  return {
    parameters: new Float32Array(layout.parameterCount),
    momentum: new Float32Array(layout.parameterCount),
    statistics: new Float32Array(layout.statisticCount),
  };
}

function verifiedTensors(file: string, manifest: CheckpointManifest): SafetensorsFile['tensors'] {
  return parseSafetensors(verifiedContent(file, manifest), file).tensors;
}

/** The bytes of a checkpoint's file, which have the hash that the manifest names. */
function verifiedContent(file: string, manifest: CheckpointManifest): Buffer {
  const expected = manifest.files[path.basename(file)];
  if (!expected) throw new CheckpointError(`the manifest beside ${file} does not list it; use another checkpoint`);
  const content = readFileSync(file);
  const sha256 = createHash('sha256').update(content).digest('hex');
  if (sha256 === expected.sha256) return content;
  throw new CheckpointError(`${file} is damaged: its SHA-256 is not the manifest's; use another checkpoint`);
}

/** The manifest of a checkpoint that is there and good, down to its files' hashes; a damaged one is replaced by the caller. */
function presentManifest(checkpoint: string): CheckpointManifest | undefined {
  if (sizeOf(path.join(checkpoint, MANIFEST_FILE)) === undefined) return undefined;
  try {
    const manifest = readManifest(checkpoint);
    for (const name of Object.keys(manifest.files)) verifiedContent(path.join(checkpoint, name), manifest);
    return manifest;
  } catch (error) {
    if (error instanceof CheckpointError) return undefined;
    throw error;
  }
}

function sizeOf(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.size;
}

function isFolder(place: string): boolean {
  try {
    return statSync(place).isDirectory();
  } catch {
    // Not there, or below something that is no folder: nothing to remove.
    return false;
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function remedyOf(error: unknown): string {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'free space on that disk, the last good checkpoint is untouched';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'make the data folder writable for this user';
  return 'check the data folder';
}
