// Owns: the environment variables of access to datasets, the same for coordinator and workers: names, limits, meaning.
// Refuses to read the environment: each app's config.ts does.
import { z } from 'zod';
import type { DatasetAccess } from './dataset-access.js';

const wholeUrl = (schemes: RegExp) => (text: string) => {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, search, hash, host } = new URL(text);
  return schemes.test(protocol) && host !== '' && [username, password, search, hash].every((part) => part === '');
};
const megabytes = 'must be a whole number from 0 to 100000000';

export const accessVariables = {
  LOCKSTEP_DATASET_URLS: z
    .string()
    .transform((list) =>
      list
        .split(',')
        .map((entry) => entry.trim())
        .filter((entry) => entry !== ''),
    )
    .refine(
      (list) => list.every(wholeUrl(/^(https?|s3):$/)),
      'must be a comma list of http, https or s3 URLs, without user names and queries',
    )
    .default([]),
  LOCKSTEP_DATASET_CACHE_MB: z
    .string()
    .regex(/^\d{1,9}$/, megabytes)
    .transform(Number)
    .pipe(z.number().max(100_000_000, megabytes))
    .default(20_000),
  LOCKSTEP_S3_ENDPOINT: z
    .string()
    .refine(wholeUrl(/^https?:$/), 'must be a URL that starts with http:// or https://')
    .optional(),
  LOCKSTEP_S3_REGION: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,64}$/, 'must be the name of a region, such as eu-central-1')
    .default('us-east-1'),
  LOCKSTEP_S3_ACCESS_KEY_ID: z.string().optional(),
  LOCKSTEP_S3_SECRET_ACCESS_KEY: z.string().optional(),
  LOCKSTEP_S3_SESSION_TOKEN: z.string().optional(),
} as const;

const schema = z.object(accessVariables);
type Values = z.infer<typeof schema>;

/** What cannot be used of the variables taken together; the second variable is named where the first needs it. */
export function accessProblem(
  values: Partial<Record<'LOCKSTEP_S3_ACCESS_KEY_ID' | 'LOCKSTEP_S3_SECRET_ACCESS_KEY', string | undefined>>,
): { readonly variable: string; readonly message: string } | undefined {
  const { LOCKSTEP_S3_ACCESS_KEY_ID: id, LOCKSTEP_S3_SECRET_ACCESS_KEY: secret } = values;
  if ((id === undefined) === (secret === undefined)) return undefined;
  const [missing, other] =
    id === undefined
      ? (['LOCKSTEP_S3_ACCESS_KEY_ID', 'LOCKSTEP_S3_SECRET_ACCESS_KEY'] as const)
      : (['LOCKSTEP_S3_SECRET_ACCESS_KEY', 'LOCKSTEP_S3_ACCESS_KEY_ID'] as const);
  return { variable: missing, message: `must be set where ${other} is` };
}

/** @param cacheDir LOCKSTEP_CACHE_DIR, absolute */
export function datasetAccess(values: Values, cacheDir: string): DatasetAccess {
  const { LOCKSTEP_S3_ACCESS_KEY_ID: accessKeyId, LOCKSTEP_S3_SECRET_ACCESS_KEY: secretAccessKey } = values;
  return {
    cacheDir,
    cacheBytes: values.LOCKSTEP_DATASET_CACHE_MB * 2 ** 20,
    urlPrefixes: values.LOCKSTEP_DATASET_URLS,
    s3: {
      endpoint: values.LOCKSTEP_S3_ENDPOINT,
      region: values.LOCKSTEP_S3_REGION,
      credentials:
        accessKeyId === undefined || secretAccessKey === undefined
          ? undefined
          : { accessKeyId, secretAccessKey, sessionToken: values.LOCKSTEP_S3_SESSION_TOKEN },
    },
  };
}
