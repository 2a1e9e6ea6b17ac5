// One system per data folder, by a lock that no kill leaves behind.
// Refuses to know what lies in the folder.
import { mkdirSync } from 'node:fs';
import { dataFolderLock } from '../setup/doctor.js';
import { acquireLock, type Lock, lockHolder } from '../setup/lock.js';
import { CommandFailed, sentenceOf } from './exit.js';

/** Makes the folder where it is missing. Throws `CommandFailed` naming the process that has it. */
export async function lockDataFolder(dataDir: string): Promise<Lock> {
  try {
    mkdirSync(dataDir, { recursive: true });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? sentenceOf(error);
    throw new CommandFailed(
      `The data folder ${dataDir} cannot be made (${code}); choose another one with --data-dir or LOCKSTEP_DATA_DIR.`,
      { cause: error },
    );
  }
  const lock = await acquireLock(dataDir, dataFolderLock);
  if (lock !== undefined) {
    return lock;
  }
  const holder = await lockHolder(dataDir, dataFolderLock);
  throw new CommandFailed(
    `The data folder ${dataDir} is in use by another Lockstep${holder === undefined ? '' : ` (process ${holder})`}; ` +
      'stop that one or choose another folder with --data-dir or LOCKSTEP_DATA_DIR.',
  );
}
