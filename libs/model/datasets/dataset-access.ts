// Owns: what a process may reach of datasets, and where it keeps what it fetched of them. Refuses to know any one dataset.

export interface DatasetAccess {
  /** `<data dir>/datasets`: symbolic links in a dataset may lead about in it, and in the dataset itself, and nowhere else. */
  readonly datasetsFolder?: string;
  /** LOCKSTEP_CACHE_DIR: indexes of folders that cannot be written to, and fetched pieces of archives. */
  readonly cacheDir?: string;
}
