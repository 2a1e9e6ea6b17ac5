// `lockstep`: from arguments to an exit code.
// Refuses to know what the verbs do: each is loaded when it is called, so that `--help` answers at once.
import { Command, CommanderError } from 'commander';
import { registerClientVerbs } from './client-verbs.js';
import { CommandFailed, exitCodes, sentenceOf } from './exit.js';
import { registerLocalVerbs } from './local-verbs.js';
import { registerModelVerbs } from './model-verbs.js';
import { packageVersion } from './version.js';

/** Runs one command line (without node and script). Never throws. */
async function run(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  let exitCode: number = exitCodes.good;
  const program = new Command('lockstep')
    .description('Synchronous training over a pool of workers, whose result does not depend on who computed it.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpCommand('help [verb]', 'help on a verb')
    .showHelpAfterError('(add --help for help)')
    .addHelpText('after', GENERAL_HELP)
    .exitOverride();
  const finish = (code: number): void => {
    exitCode = code;
  };
  registerLocalVerbs(program, environment, finish);
  registerClientVerbs(program, environment, finish);
  registerModelVerbs(program, environment, finish);
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error);
  }
}

/** Says what went wrong, on standard error. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) {
    // Commander has said it already; only help and version that were asked for are good.
    return error.exitCode === 0 ? exitCodes.good : exitCodes.usage;
  }
  const text = sentenceOf(error);
  if (text !== '') {
    process.stderr.write(`${text}\n`);
  }
  if (error instanceof CommandFailed) {
    return error.exitCode;
  }
  return error instanceof Error && error.name === 'ConfigError' ? exitCodes.usage : exitCodes.failed;
}

const GENERAL_HELP = `
Exit codes: 0 good, 1 the job or the check failed, 2 wrong usage.

Environment: LOCKSTEP_URL and LOCKSTEP_API_TOKEN say which coordinator to ask, and as whom. docs/operating.md has all the rest.

Start here:
  $ npx lockstep up                                              everything on this machine
  $ npx lockstep submit --preset resnet20-cifar10-demo --watch   in another terminal`;

// `lockstep jobs | head` closes our output early; that is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exitCodes.good : exitCodes.failed);
});
const code = await run(process.argv.slice(2), process.env);
// Open connections and timers must not delay the end; output to files, pipes and terminals is written by now.
process.exit(code);
