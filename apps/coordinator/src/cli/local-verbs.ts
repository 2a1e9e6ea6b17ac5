// The verbs that do something on this machine: their arguments, options and help.
// Refuses to know how they are carried out (commands/*), which is loaded only when one is called.
import { Argument, type Command, Option } from 'commander';
import { collect, example, port, wholeNumber } from './arguments.js';
import type { DatasetIndexOptions } from './commands/dataset-index.js';
import type { DemoOptions } from './commands/demo.js';
import type { TuneOptions } from './commands/tune.js';
import type { UpOptions } from './commands/up.js';

type Finish = (exitCode: number) => void;

const MOST_WORKERS = 256;

export function registerLocalVerbs(program: Command, environment: NodeJS.ProcessEnv, finish: Finish): void {
  program
    .command('setup')
    .description('get and build what this machine needs: TensorFlow, its addon, Valkey')
    .option('--cuda', 'TensorFlow for NVIDIA GPUs')
    .option('--offline', 'fetch nothing; say what is missing')
    .addHelpText('after', example('lockstep setup', 'lockstep setup --cuda'))
    .action(async (options: { cuda?: boolean; offline?: boolean }) => {
      const { setUp } = await import('./commands/setup.js');
      finish(await setUp(options, environment));
    });

  program
    .command('doctor')
    .description(
      'check Node, compiler, library, device, Redis, ports, disk and data folder; a line each, with the remedy',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', example('lockstep doctor'))
    .action(async (options: { json?: boolean }) => {
      const { doctor } = await import('./commands/doctor.js');
      finish(await doctor(options, environment));
    });

  program
    .command('up')
    .description('start Valkey, the coordinator and workers on this machine, and keep them up until Ctrl-C')
    .option('--workers <count>', 'worker processes (default: one per core, at most 4)', wholeNumber(0, MOST_WORKERS))
    .option('--http-port <port>', 'port of REST and dashboard (else LOCKSTEP_HTTP_PORT, else 8080)', port)
    .option('--grpc-port <port>', 'first gRPC port (else LOCKSTEP_GRPC_PORT, else 50051 or other free ones)', port)
    .option('--data-dir <folder>', 'datasets, jobs, checkpoints (else LOCKSTEP_DATA_DIR, else ./data)')
    .option('--verbose', 'show every line that the processes log')
    .addHelpText('after', example('lockstep up', 'lockstep up --workers 2 --http-port 9000 --data-dir /srv/lockstep'))
    .action(async (options: UpOptions) => {
      const { up } = await import('./commands/up.js');
      finish(await up(options, environment));
    });

  program
    .command('coordinator')
    .description('run a coordinator alone, as in a container; settings come from the environment')
    .addHelpText('after', example('REDIS_URL=redis://127.0.0.1:6379 lockstep coordinator'))
    .action(async () => finish(await foreground('coordinator', environment)));

  program
    .command('worker')
    .description('run a worker alone, as in a container; settings come from the environment')
    .addHelpText(
      'after',
      example('LOCKSTEP_COORDINATOR=10.0.0.5:50051 REDIS_URL=redis://10.0.0.5:6379 lockstep worker'),
    )
    .action(async () => finish(await foreground('worker', environment)));

  program
    .command('demo')
    .description('train ResNet-20 on CIFAR-10 with two workers, from nothing to a test accuracy')
    .option('--keep', 'leave the system up afterwards, until Ctrl-C')
    .option('--verbose', 'show every line that the processes log')
    .addHelpText('after', example('lockstep demo', 'lockstep demo --keep'))
    .action(async (options: DemoOptions) => {
      const { demo } = await import('./commands/demo.js');
      finish(await demo(options, environment));
    });

  program
    .command('tune [file]')
    .description('find the quickest shards, threads and workers for a job on this machine, by short measured runs')
    .option('--preset <name>', 'a preset instead of a spec FILE (JSON or YAML)')
    .addOption(
      new Option('--set <path=value>', 'a field of the spec, JSON or plain text; may be repeated')
        .argParser(collect)
        .default([], 'none'),
    )
    .option('--minutes <count>', 'begin no further run after so long', wholeNumber(1, 600), 5)
    .option('--run-seconds <count>', 'measure each setting for so long, at least one task', wholeNumber(1, 600), 3)
    .option('--json', 'print JSON')
    .addHelpText('after', example('lockstep tune --preset resnet20-cifar10', 'lockstep tune job.yaml --minutes 10'))
    .addHelpText(
      'after',
      '\nThe machine should have nothing else to do. shardSize and shardsPerTask are part of what determines the bits.',
    )
    .action(async (file: string | undefined, options: TuneOptions) => {
      const { tune } = await import('./commands/tune.js');
      finish(await tune(file, options, environment));
    });

  const dataset = program.command('dataset').description('datasets on this machine');
  dataset
    .command('prepare')
    .description('fetch or make a dataset and print where it lies')
    .addArgument(new Argument('<name>', 'the dataset').choices(['cifar10', 'imagenet-sample']))
    .option(
      '--to <folder>',
      'put it there (else cifar10 into the cache, imagenet-sample among the datasets of the data folder)',
    )
    .option('--offline', 'fetch nothing; say what is missing')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example(
        'lockstep dataset prepare cifar10',
        'lockstep dataset prepare cifar10 --to data/datasets/cifar10',
        'lockstep dataset prepare imagenet-sample',
      ),
    )
    .action(
      async (name: 'cifar10' | 'imagenet-sample', options: { to?: string; offline?: boolean; json?: boolean }) => {
        const { prepareDatasetCommand } = await import('./commands/dataset.js');
        finish(await prepareDatasetCommand(name, options, environment));
      },
    );
  dataset
    .command('index')
    .description('look at every image of a folder or of tar archives, report what is broken or odd, and keep the index')
    .argument(
      '<source>',
      'folder with train and val, or path or URL of archives such as https://host/train-{000..146}.tar',
    )
    .option('--test <archives>', 'archives of test images, named like those of training images')
    .option('--full', 'decode every image and keep its checksum, in place of looking at its header and end')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example('lockstep dataset index data/datasets/imagenet', 'lockstep dataset index --full data/datasets/imagenet'),
    )
    .action(async (source: string, options: DatasetIndexOptions) => {
      const { indexDatasetCommand } = await import('./commands/dataset-index.js');
      finish(await indexDatasetCommand(source, options, environment));
    });
}

async function foreground(which: 'coordinator' | 'worker', environment: NodeJS.ProcessEnv): Promise<number> {
  const [{ runInForeground }, { coordinatorEntry, workerEntry }, { foregroundEnvironment }] = await Promise.all([
    import('./foreground.js'),
    import('./entries.js'),
    import('./child-environment.js'),
  ]);
  const entry = which === 'coordinator' ? coordinatorEntry : workerEntry;
  return runInForeground(entry, foregroundEnvironment(environment));
}
