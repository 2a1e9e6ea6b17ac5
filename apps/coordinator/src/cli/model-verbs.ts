// The verbs that work on trained nets, on this machine and without a coordinator: their arguments, options and help.
// Refuses to know how they are carried out (commands/*), which is loaded only when one is called.
import { type Command, Option } from 'commander';
import { collect, example, wholeNumber } from './arguments.js';
import type { EvaluateOptions } from './commands/evaluate.js';
import type { ExportOptions } from './commands/export.js';
import type { ImportOptions } from './commands/import.js';
import type { PredictOptions } from './commands/predict.js';

type Finish = (exitCode: number) => void;

const ARCHITECTURE = 'what the net is, where the file leaves it open (such as resnet50, or resnet50-v1.5)';

export function registerModelVerbs(program: Command, environment: NodeJS.ProcessEnv, finish: Finish): void {
  program
    .command('export')
    .description('write a net as a safetensors file of torchvision’s names and layouts, or as a SavedModel')
    .requiredOption('--checkpoint <path>', 'a checkpoint’s folder, or a safetensors file')
    .addOption(
      new Option('--format <format>', 'what to write').choices(['safetensors', 'savedmodel']).makeOptionMandatory(),
    )
    .option('--out <path>', 'where to (default: the architecture and step, in the present folder)')
    .option('--architecture <name>', ARCHITECTURE)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example(
        'lockstep export --checkpoint data/jobs/ID/checkpoints/step-00001173 --format safetensors',
        'lockstep export --checkpoint data/jobs/ID/checkpoints/step-00001173 --format savedmodel --out served/1',
      ),
    )
    .action(async (options: ExportOptions) => {
      const { exportModel } = await import('./commands/export.js');
      finish(await exportModel(options));
    });

  program
    .command('import <file>')
    .description('make a checkpoint of a safetensors file from torchvision, timm or Hugging Face')
    .option('--out <folder>', 'folder of the checkpoint (default: imported/<file’s name> in the data folder)')
    .option('--architecture <name>', ARCHITECTURE)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example(
        'lockstep import resnet50.safetensors',
        'lockstep import resnet50.safetensors --architecture resnet50 --out data/imported/paper',
      ),
    )
    .action(async (file: string, options: ImportOptions) => {
      const { importModel } = await import('./commands/import.js');
      finish(await importModel(file, options, environment));
    });

  program
    .command('predict <image...>')
    .description('name the five likeliest classes of images')
    .requiredOption('--checkpoint <path>', 'a checkpoint’s folder, or a safetensors file')
    .option('--architecture <name>', ARCHITECTURE)
    .option('--labels <file>', 'names of the classes, one a line (else those that the checkpoint or ImageNet has)')
    .addOption(threads())
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example(
        'lockstep predict cat.jpg --checkpoint data/jobs/ID/checkpoints/step-00001173',
        'lockstep predict *.jpg --checkpoint resnet50.safetensors --json',
      ),
    )
    .action(async (images: string[], options: PredictOptions) => {
      const { predict } = await import('./commands/predict.js');
      finish(await predict(images, options));
    });

  program
    .command('evaluate')
    .description('loss, top-1 and top-5 of a net, or of several together, on a dataset’s test images')
    .addOption(
      new Option(
        '--checkpoint <path>',
        'a checkpoint’s folder or a safetensors file; of several the scores are averaged',
      )
        .argParser(collect)
        .default([], 'none'),
    )
    .option(
      '--dataset <dataset>',
      'a folder, cifar10, synthetic, or a spec’s dataset as JSON (else what it was trained on)',
    )
    .addOption(new Option('--crops <count>', 'views of each image').choices(['1', '10']).default('1'))
    .option(
      '--scales <sides>',
      'shorter sides of the images, such as 224,256,384,480,640; scores are averaged',
      wholeNumbers,
    )
    .option('--architecture <name>', ARCHITECTURE)
    .option(
      '--batch-size <count>',
      'images that are computed at once (else the shard size of the training)',
      wholeNumber(1, 65_536),
    )
    .addOption(threads())
    .option('--url <url>', 'let the workers of this coordinator compute it, as a job; loss, top-1 and top-5 only')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      example(
        'lockstep evaluate --checkpoint data/jobs/ID/checkpoints/step-00001173',
        'lockstep evaluate --checkpoint resnet50.safetensors --dataset /data/imagenet --crops 10',
        'lockstep evaluate --checkpoint A --checkpoint B --dataset /data/imagenet --scales 224,256,384,480,640',
      ),
    )
    .action(async (options: EvaluateOptions) => {
      const { evaluate } = await import('./commands/evaluate.js');
      finish(await evaluate(options, environment));
    });
}

function threads(): Option {
  return new Option(
    '--threads <count>',
    'threads of TensorFlow; with another number than the workers’ the last digits may differ',
  )
    .argParser(wholeNumber(1, 1024))
    .default(1);
}

function wholeNumbers(text: string): number[] {
  const one = wholeNumber(32, 2048);
  return text.split(',').map((part) => one(part.trim()));
}
