// Owns: the folder of a job's checkpoints: names, which there are, and removing those no longer wanted.
// Refuses to know: what is inside a checkpoint.
import { readdirSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { syncFolder } from './durable-files.js';

const FOLDER = /^step-(\d{8,})$/;
/** Folders being written or removed; whatever stays of them after a crash is no checkpoint. */
const UNFINISHED = /^\.(writing|removing)-/;

export function checkpointName(step: number): string {
  return `step-${String(step).padStart(8, '0')}`;
}

/** The steps of the complete checkpoints in a folder, rising; empty if there is no such folder. */
export function listCheckpoints(folder: string): { step: number; path: string }[] {
  return namesIn(folder)
    .map((name) => ({ step: Number(FOLDER.exec(name)?.[1] ?? Number.NaN), path: path.join(folder, name) }))
    .filter(({ step }) => Number.isSafeInteger(step))
    .sort((one, other) => one.step - other.step);
}

/**
 * Removes all but the newest `keep` checkpoints and step 0, and what a crash left unfinished. Not to be called while another
 * process writes here.
 *
 * @param alsoKeep steps that somebody still reads
 * @returns the steps removed
 */
export function pruneCheckpoints(folder: string, keep: number, alsoKeep: readonly number[] = []): number[] {
  for (const name of namesIn(folder).filter((entry) => UNFINISHED.test(entry))) {
    rmSync(path.join(folder, name), { recursive: true, force: true });
  }
  const later = listCheckpoints(folder).filter(({ step }) => step !== 0);
  const removed = later.slice(0, Math.max(0, later.length - keep)).filter(({ step }) => !alsoKeep.includes(step));
  for (const { step } of removed) removeCheckpoint(folder, checkpointName(step));
  return removed.map(({ step }) => step);
}

/** Renamed first, so that a removal cut short never leaves half a checkpoint under its name. */
export function removeCheckpoint(folder: string, name: string): void {
  const from = path.join(folder, name);
  if (!namesIn(folder).includes(name)) return;
  const doomed = path.join(folder, `.removing-${name}-${process.pid}`);
  rmSync(doomed, { recursive: true, force: true });
  renameSync(from, doomed);
  syncFolder(folder);
  rmSync(doomed, { recursive: true, force: true });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
