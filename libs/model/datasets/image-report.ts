// Owns: what was found while images were indexed: how many, which are broken, which are odd, and what a person should know.
// Refuses to know: how files are looked at, and whether a job may start with them.
import { z } from 'zod';
import { imageTraits, type ImageTrait } from './image-header.js';

/** Names kept of each kind of finding; all are counted. */
const namesKept = 1000;

const findingSchema = z.strictObject({ count: z.int().nonnegative(), names: z.array(z.string()) });

export const imageReportSchema = z.strictObject({
  /** Image files that were looked at. */
  files: z.int().nonnegative(),
  /** Left out of the index; each name is followed by what is wrong: 'train/a/1.jpg is empty'. */
  broken: findingSchema,
  /** Files that are no images by their names. */
  ignored: findingSchema,
  /** In the index, but unusual. */
  traits: z.record(z.enum(imageTraits), findingSchema),
  /** Sentences about the dataset as a whole. */
  warnings: z.array(z.string()),
});

export type ImageReport = z.infer<typeof imageReportSchema>;

export function emptyReport(): ImageReport {
  const none = (): ImageReport['broken'] => ({ count: 0, names: [] });
  const traits = Object.fromEntries(imageTraits.map((trait) => [trait, none()])) as ImageReport['traits'];
  return { files: 0, broken: none(), ignored: none(), traits, warnings: [] };
}

export function note(finding: ImageReport['broken'], name: string): void {
  finding.count += 1;
  if (finding.names.length < namesKept) finding.names.push(name);
}

const traitWords: Readonly<Record<ImageTrait, string>> = {
  cmyk: 'in CMYK',
  grey: 'grey',
  '16-bit': 'with more than 8 bits per channel',
  rotated: 'rotated by EXIF',
  misnamed: 'named like another format',
};

/** The report as lines for people: counts, each with up to `names` names. */
export function reportLines(report: ImageReport, names = 5): string[] {
  const findings: [words: string, finding: ImageReport['broken']][] = [
    ['broken, left out', report.broken],
    ...imageTraits.map((trait): [string, ImageReport['broken']] => [traitWords[trait], report.traits[trait]]),
    ['other files, passed over', report.ignored],
  ];
  const lines = [`${report.files} image files`];
  for (const [words, finding] of findings) {
    if (finding.count > 0) lines.push(`  ${finding.count} ${words}: ${listed(finding, names)}`);
  }
  return [...lines, ...report.warnings];
}

/** 'a, b and 3 more'. */
export function listed({ count, names }: ImageReport['broken'], most: number): string {
  const shown = names.slice(0, most);
  const more = count - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
