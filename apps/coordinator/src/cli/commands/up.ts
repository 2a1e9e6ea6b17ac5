// `up`: everything on this machine until Ctrl-C.
// Refuses to know how processes are kept alive.
import path from 'node:path';
import { bringUp } from '../bring-up.js';
import { CommandFailed, exitCodes, sentenceOf } from '../exit.js';
import { aborted, interruption } from '../interruption.js';
import { joinText } from '../join-text.js';
import { printLines, tell } from '../output.js';
import { prepareMachine } from '../prepare.js';

export interface UpOptions {
  readonly workers?: number;
  readonly httpPort?: number;
  readonly grpcPort?: number;
  readonly dataDir?: string;
  readonly verbose?: boolean;
}

/** Standard output holds nothing but the line `ready http://…`. */
export async function up(options: UpOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  // The second Ctrl-C ends this process, and with it, at once, all that it started.
  const stop = interruption(() => process.exit(exitCodes.interrupted));
  const running = await bringUp(
    {
      ...options,
      environment,
      verbose: options.verbose === true,
      say: tell,
      prepare: async (config) => (await prepareMachine({ config, environment, signal: stop.signal })).queue,
    },
    stop.signal,
  );
  if (running === undefined) {
    return exitCodes.interrupted;
  }
  const { config, baseUrl, redisUrl, workerCount } = running;
  const { grpcHost, grpcPort } = config;
  const join = joinText({ grpcHost, grpcPort, redisUrl, withToken: config.workerToken !== undefined });
  printLines([`ready ${baseUrl}`]);
  tell(
    `${workerCount} worker${workerCount === 1 ? '' : 's'}; logs in ${path.join(config.dataDir, 'logs')}; Ctrl-C stops everything; ${join}`,
  );
  try {
    await Promise.race([aborted(stop.signal), running.failure]);
  } catch (error) {
    await running.stop();
    throw new CommandFailed(sentenceOf(error), { cause: error });
  }
  tell('Stopping …');
  await running.stop();
  return exitCodes.good;
}
