// Nets that a user names by path, and the sentences for what is wrong with them.
// Refuses to know what is done with a net.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { CheckpointError } from '#model/checkpoint.js';
import { readStoredModel, type StoredModel } from '#model/exchange/stored-model.js';
import { SafetensorsError } from '#model/safetensors.js';
import { CommandFailed, sentenceOf, WrongUsage } from './exit.js';
import { tell } from './output.js';

/** Reads it and says what had to be assumed. Throws `WrongUsage` where nothing is there, `CommandFailed` where it cannot be used. */
export function storedModelAt(path: string, architecture: string | undefined): StoredModel {
  if (!existsSync(path)) throw new WrongUsage(`There is no ${path}; name a checkpoint's folder or a safetensors file.`);
  try {
    const stored = readStoredModel(path, architecture);
    if (resolve(stored.source) !== resolve(path)) tell(`The newest checkpoint of ${path} is taken: ${stored.source}`);
    if (stored.note !== undefined) tell(stored.note);
    return stored;
  } catch (error) {
    if (!(error instanceof CheckpointError || error instanceof SafetensorsError)) throw error;
    const sentence = sentenceOf(error);
    throw new CommandFailed(sentence.endsWith('.') ? sentence : `${sentence}.`, { cause: error });
  }
}
