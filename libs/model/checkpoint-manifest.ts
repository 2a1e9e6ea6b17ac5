// Owns: what a checkpoint's manifest.json says, field by field.
// Refuses to know: the files that it describes.
import { z } from 'zod';
import { jobSpecSchema } from './job-spec-schema.js';
import { scheduleStateSchema } from './plateau.js';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hex');
const file = z.object({ bytes: z.int().min(0), sha256 });

export const checkpointManifestSchema = z.object({
  format: z.literal(1).describe('Version of this format.'),
  jobId: z.string().nullable().describe('Job that wrote it; null for one made by hand.'),
  spec: jobSpecSchema.describe('The resolved job spec.'),
  step: z.int().min(0).describe('Steps done, which is also the version of the parameters; 0 is the initial state.'),
  epoch: z.number().min(0).describe('Epochs done, with the fraction of the one begun.'),
  layoutHash: z.string().min(1).describe('Hash of the parameter layout.'),
  datasetIndexHash: z.string().nullable().describe('Hash of the dataset that it was trained on.'),
  classNames: z.array(z.string()).optional().describe('Names by class number, where the classes have names.'),
  parametersSha256: sha256.describe('Over the flat little-endian float32 parameters in layout order.'),
  stateSha256: sha256.describe('Over parameters, momentum, running statistics and schedule state.'),
  scheduleState: scheduleStateSchema.describe('What the schedule remembers.'),
  metrics: z.record(z.string(), z.number()).describe('Newest value of each metric at the time.'),
  versions: z.record(z.string(), z.string()).describe('Versions of lockstep, TensorFlow and Node.'),
  numericsClass: z.string().nullable().describe('Class that the job was pinned to; null before it was.'),
  createdAt: z.iso.datetime().describe('When it was written, in UTC.'),
  files: z.record(z.string(), file).describe('Size and SHA-256 of each file beside this one.'),
});

export type CheckpointManifest = z.infer<typeof checkpointManifestSchema>;

/** The manifest in a text, or a sentence on what is wrong with it. */
export function parseManifest(text: string): CheckpointManifest | string {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return 'it is not JSON';
  }
  const parsed = checkpointManifestSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  return `${issue.path.join('.')}: ${issue.message}`;
}
