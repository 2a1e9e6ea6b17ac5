// Nets ready to compute in this process: TensorFlow with the settings that workers have, one net per stored model.
// Refuses to know what is computed.
import type { StoredModel } from '#model/exchange/stored-model.js';
import { Network } from '#model/network.js';
import { tensorflowEnvironment } from '#model/tensorflow/settings.js';

/** Runs `work` with the nets and frees them. Each computes in the precision that it was trained in; bare files in float32. */
export async function withNetworks<Result>(
  models: readonly StoredModel[],
  threads: number,
  work: (networks: readonly Network[]) => Promise<Result>,
): Promise<Result> {
  // TensorFlow reads them when its library loads, which the first net makes it do.
  Object.assign(process.env, tensorflowEnvironment(threads));
  const networks: Network[] = [];
  try {
    for (const { model, manifest, parameters, statistics } of models) {
      const network = Network.create(model, manifest?.spec.training.precision ?? 'float32');
      networks.push(network);
      network.loadParameters(parameters, statistics);
    }
    return await work(networks);
  } finally {
    for (const network of networks) network.dispose();
  }
}
