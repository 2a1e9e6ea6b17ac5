// The verbs that work on trained nets, on this machine and without a coordinator: their arguments, options and help.
// Refuses to know how they are carried out (commands/*), which is loaded only when one is called.
import { type Command, Option } from 'commander';
import { example } from './arguments.js';
import type { ExportOptions } from './commands/export.js';
import type { ImportOptions } from './commands/import.js';

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
}
