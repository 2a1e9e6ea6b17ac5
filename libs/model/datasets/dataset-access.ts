// Owns: what a process may reach of datasets, and where it keeps what it fetched of them. Refuses to know any one dataset.

export interface DatasetAccess {
  /** `<data dir>/datasets`: symbolic links in a dataset may lead about in it, and in the dataset itself, and nowhere else. */
  readonly datasetsFolder?: string | undefined;
  /** LOCKSTEP_CACHE_DIR: what is fetched of files and archives is kept in it. Without one nothing is kept. */
  readonly cacheDir?: string | undefined;
  /** How much is kept of it, bytes. LOCKSTEP_DATASET_CACHE_MB */
  readonly cacheBytes?: number | undefined;
  /** What URLs of archives, and what they redirect to, must start with. LOCKSTEP_DATASET_URLS */
  readonly urlPrefixes?: readonly string[] | undefined;
  readonly s3?: S3Access | undefined;
}

/** How s3:// URLs are reached. LOCKSTEP_S3_… */
export interface S3Access {
  /** Such as http://127.0.0.1:9000; undefined: Amazon's of the region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  /** Undefined: requests are not signed, as public buckets allow it. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken: string | undefined }
    | undefined;
}

/** Whether a URL lies below one of the prefixes; a prefix ends at a slash, whether or not it was written. */
export function isAllowedUrl(url: string, prefixes: readonly string[]): boolean {
  if (!URL.canParse(url)) return false;
  const { href, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  return prefixes.some((prefix) => {
    const below = new URL(prefix).href.replace(/\/*$/, '/');
    return href.startsWith(below);
  });
}

/** A URL as it may be shown: without a query, which may hold a signature. */
export function shownUrl(url: string): string {
  return url.replace(/[?#].*$/s, '');
}
