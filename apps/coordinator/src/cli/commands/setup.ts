// `setup`: makes this machine ready and says what it found or made.
// Refuses to know how.
import { loadConfig } from '../../config.js';
import { exitCodes } from '../exit.js';
import { interruption } from '../interruption.js';
import { printLines } from '../output.js';
import { prepareMachine } from '../prepare.js';
import { renderFields } from '../table.js';

export async function setUp(
  options: { readonly cuda?: boolean; readonly offline?: boolean },
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const config = loadConfig(environment);
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const { library, addon, queue, unchanged } = await prepareMachine({
    config,
    environment,
    signal: stop.signal,
    flavour: options.cuda === true ? 'cuda' : 'cpu',
    offline: options.offline === true,
  });
  printLines([
    unchanged ? 'Everything was in place.' : 'This machine is ready.',
    ...renderFields([
      ['TensorFlow', `${library.flavour}, ${library.libraryDir}`],
      ['addon', addon.path],
      // The URL may hold a password.
      [
        'Redis',
        queue.kind === 'running' ? 'the one that REDIS_URL names' : `${queue.binary.path} ${queue.binary.version}`,
      ],
    ]),
  ]);
  return exitCodes.good;
}
