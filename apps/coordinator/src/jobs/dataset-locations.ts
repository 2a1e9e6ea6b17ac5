// Where a job's dataset lies on this machine, and how the one that Lockstep can fetch gets there.
// Refuses to know what is in it.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type JobSpec, SpecError } from '#model/job-spec.js';

export interface DatasetPlaces {
  readonly dataDir: string;
  /** Resolves to the folder of CIFAR-10, fetching it first where it is not there. */
  readonly fetchCifar10: () => Promise<string>;
  /** The folder of CIFAR-10, where it is there already. */
  readonly findCifar10: () => Promise<string | undefined>;
}

const cifar10Path = 'cifar-10-batches-bin';
const samplePath = 'imagenet-sample';

export class DatasetLocations {
  readonly #places: DatasetPlaces;

  constructor(places: DatasetPlaces) {
    this.#places = places;
  }

  /**
   * Checks that a spec's dataset is there or can be fetched.
   * @throws SpecError where it is not
   */
  check(spec: JobSpec): void {
    if (spec.dataset.kind === 'webdataset')
      throw new SpecError([{ path: 'dataset.kind', message: 'cannot be webdataset yet' }]);
    if (spec.dataset.kind === 'synthetic' || this.#local(spec.dataset.path) !== undefined) return;
    if (spec.dataset.kind === 'cifar10' && spec.dataset.path === cifar10Path) return;
    const remedy = spec.dataset.path === samplePath ? '; `lockstep dataset prepare imagenet-sample` makes it' : '';
    const message = `there is no ${spec.dataset.path} in ${join(this.#places.dataDir, 'datasets')}${remedy}`;
    throw new SpecError([{ path: 'dataset.path', message }]);
  }

  /** Where it lies already; undefined when it has to be fetched. */
  async present(spec: JobSpec): Promise<string | undefined> {
    if (spec.dataset.kind === 'synthetic' || spec.dataset.kind === 'webdataset') return '';
    return this.#local(spec.dataset.path) ?? (await this.#places.findCifar10());
  }

  /** Fetches what is not there. */
  fetch(): Promise<string> {
    return this.#places.fetchCifar10();
  }

  #local(path: string): string | undefined {
    const folder = join(this.#places.dataDir, 'datasets', path);
    return existsSync(folder) ? folder : undefined;
  }
}
