// `doctor`: what this machine has and lacks, a line each.
// Refuses to know how it is found out.
import { loadConfig } from '../../config.js';
import { type Finding, runDoctor } from '../../setup/doctor.js';
import { exitCodes } from '../exit.js';
import { printJson, printLines } from '../output.js';

/** 0 when all is well, else 1. */
export async function doctor(options: { readonly json?: boolean }, environment: NodeJS.ProcessEnv): Promise<number> {
  const findings = await runDoctor({ ...loadConfig(environment), environment });
  if (options.json === true) {
    printJson({ findings });
  } else {
    printLines(findingLines(findings));
  }
  return findings.every((finding) => finding.ok) ? exitCodes.good : exitCodes.failed;
}

function findingLines(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ name }) => name.length));
  return findings.map(({ name, ok, detail, remedy }) =>
    `${ok ? 'ok ' : 'BAD'}  ${name.padEnd(width)}  ${detail}${remedy === null ? '' : ` ${remedy}`}`.trimEnd(),
  );
}
