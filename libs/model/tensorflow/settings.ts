// Owns: the settings that TensorFlow gets from the process before its library loads, equal wherever Lockstep computes.
// Refuses to know: who sets them, and the environment's own values.

/** The settings that change the bits, apart from the number of threads. */
export const kernelFlags: Readonly<Record<string, string>> = {
  TF_DETERMINISTIC_OPS: '1',
  TF_ENABLE_ONEDNN_OPTS: '1',
};

const quiet = {
  TF_NUM_INTEROP_THREADS: '1',
  TF_FORCE_GPU_ALLOW_GROWTH: 'true',
  TF_CPP_MIN_LOG_LEVEL: '2',
} as const;

/**
 * Settings of TensorFlow, which reads them from the process when its library loads. Those that change kernels are fixed,
 * whatever the user's environment says, so that workers of one class stay one class.
 */
export function tensorflowEnvironment(threads: number): Record<string, string> {
  return { ...kernelFlags, TF_NUM_INTRAOP_THREADS: String(threads), ...quiet };
}
