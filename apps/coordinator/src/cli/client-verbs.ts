// The verbs that ask a running coordinator: their arguments, options and help.
// Refuses to know how they are carried out (commands/*), which is loaded only when one is called.
import { presets } from '#model/presets.js';
import { type Command, Option } from 'commander';
import { jobStates } from '../jobs/ports.js';
import { collect, example, wholeNumber } from './arguments.js';
import type { Api } from './api.js';
import type { ListOptions } from './commands/jobs.js';
import type { SubmitOptions } from './commands/submit.js';
import type { TimelineOptions } from './commands/timeline.js';

/** What every verb here takes. */
export interface ClientOptions {
  readonly url?: string;
  readonly json?: boolean;
}

type Finish = (exitCode: number) => void;

export function registerClientVerbs(program: Command, environment: NodeJS.ProcessEnv, finish: Finish): void {
  const api = async (options: ClientOptions): Promise<Api> => {
    const [{ Api: Client }, { clientSettings }] = await Promise.all([
      import('./api.js'),
      import('./client-settings.js'),
    ]);
    return new Client(clientSettings(environment, options.url));
  };
  const verb = (usage: string, description: string, json = 'print JSON'): Command =>
    program
      .command(usage)
      .description(description)
      .option('--url <url>', 'the coordinator (else LOCKSTEP_URL, else http://127.0.0.1:$LOCKSTEP_HTTP_PORT)')
      .option('--json', json);

  verb('submit [file]', 'submit a job spec (JSON or YAML) or a preset; prints the job’s id', 'print the answer as JSON')
    .option('--preset <name>', 'a preset instead of a file; see below')
    .addOption(
      new Option('--set <path=value>', 'a field of the spec, JSON or plain text; may be repeated')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--key <text>', 'idempotency key: the same key gives the same job again')
    .option('--watch', 'then watch it; the exit code says how it ended')
    .addHelpText(
      'after',
      example(
        'lockstep submit --preset resnet20-cifar10-demo --set training.epochs=1 --watch',
        'lockstep submit examples/job.yaml --set training.optimizer.nesterov=true',
      ),
    )
    .addHelpText('after', presetHelp)
    .action(async (file: string | undefined, options: SubmitOptions) => {
      const { submit } = await import('./commands/submit.js');
      finish(await submit(await api(options), file, options));
    });

  verb('jobs', 'list jobs, newest first')
    .addOption(new Option('--state <state>', 'only those in this state').choices(jobStates))
    .option('--limit <count>', 'at most so many', wholeNumber(1, 10_000), 50)
    .addHelpText('after', example('lockstep jobs --state running'))
    .action(async (options: ListOptions) => {
      const { listJobs } = await import('./commands/jobs.js');
      finish(await listJobs(await api(options), options));
    });

  verb('show <id>', 'all about a job')
    .addHelpText('after', example('lockstep show ID', 'lockstep show ID --json'))
    .action(async (id: string, options: ClientOptions) => {
      const { showJob } = await import('./commands/jobs.js');
      finish(await showJob(await api(options), id, options));
    });

  verb('watch <id>', 'follow a job to its end; Ctrl-C leaves it running', 'print the job as JSON, a line per change')
    .addHelpText('after', example('lockstep watch ID'))
    .action(async (id: string, options: ClientOptions) => {
      const { watch } = await import('./commands/watch.js');
      finish(await watch(await api(options), id, options));
    });

  const actions = [
    ['pause', 'pause a job; its open step is dropped and computed again later'],
    ['resume', 'let a paused job go on'],
    ['checkpoint', 'write a checkpoint of a running job after its present step'],
    ['cancel', 'end a job for good; its files stay until it is deleted'],
  ] as const;
  for (const [action, description] of actions) {
    const command = verb(`${action} <id>`, description);
    if (action === 'resume') {
      command.option(
        '--repin',
        'pin it anew, to the numerics class with most workers; bits change from the checkpoint on',
      );
    }
    command
      .addHelpText('after', example(`lockstep ${action} ID`))
      .action(async (id: string, options: ClientOptions & { readonly repin?: boolean }) => {
        const { act } = await import('./commands/jobs.js');
        finish(await act(await api(options), id, action, options));
      });
  }

  verb('delete <id>', 'delete an ended job with its checkpoints, ledger and metrics')
    .addHelpText('after', example('lockstep delete ID'))
    .action(async (id: string, options: ClientOptions) => {
      const { deleteJob } = await import('./commands/jobs.js');
      finish(await deleteJob(await api(options), id, options));
    });

  verb('workers', 'list the workers of the pool')
    .addHelpText('after', example('lockstep workers'))
    .action(async (options: ClientOptions) => {
      const { listWorkers } = await import('./commands/workers.js');
      finish(await listWorkers(await api(options), options));
    });

  verb('drain <worker>', 'let a worker finish its task and leave the pool')
    .addHelpText('after', example('lockstep drain WORKER'))
    .action(async (worker: string, options: ClientOptions) => {
      const { drainWorker } = await import('./commands/workers.js');
      finish(await drainWorker(await api(options), worker, options));
    });

  verb('audit <id>', 'prove from the ledger that each sample was counted exactly once per epoch')
    .addHelpText('after', example('lockstep audit ID'))
    .action(async (id: string, options: ClientOptions) => {
      const { audit } = await import('./commands/audit.js');
      finish(await audit(await api(options), id, options));
    });

  verb('timeline <id>', 'write a trace of some steps: what coordinator and workers did when', 'print a summary as JSON')
    .option('--steps <A-B>', 'first and last step, from 0, as in the ledger (default: the newest 5)')
    .option('--out <file>', 'where to (default: timeline-ID-A-B.json)')
    .addHelpText(
      'after',
      example(
        'lockstep timeline ID',
        'lockstep timeline ID --steps 10-14',
        'lockstep timeline ID --steps 10 --out step.json',
      ),
    )
    .addHelpText(
      'after',
      '\nOpen the file at ui.perfetto.dev or chrome://tracing. Each process keeps its newest spans in memory (some hundreds of\n' +
        'tasks), so ask while the job runs or soon after; what is missing is said.',
    )
    .action(async (id: string, options: TimelineOptions) => {
      const { timeline } = await import('./commands/timeline.js');
      finish(await timeline(await api(options), id, options));
    });
}

function presetHelp(): string {
  const width = Math.max(...presets.map(({ name }) => name.length));
  const lines = presets.map(({ name, description }) => `  ${name.padEnd(width)}  ${description}`);
  return `\nPresets:\n${lines.join('\n')}\n\nEvery field of a spec is described at /docs of a running coordinator (schema JobSpecInput).`;
}
