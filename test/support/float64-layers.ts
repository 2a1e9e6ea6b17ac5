// Owns: every layer's forward written out in plain float64 loops, and numeric derivatives of such functions: the yardstick
// for kernels and hand-written gradients. Refuses to know: TensorFlow.

export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export function array64(shape: readonly number[], data: ArrayLike<number>): Array64 {
  return { shape, data: Float64Array.from(data) };
}

/** Correlation with (kernel - 1) / 2 pixels of zeros on every side; x [n, h, w, inputs], filter [k, k, inputs, outputs]. */
export function convolution64(x: Array64, filter: Array64, stride: number): Array64 {
  const [n, height, width, inputs] = x.shape as [number, number, number, number];
  const [kernel, , , outputs] = filter.shape as [number, number, number, number];
  const before = (kernel - 1) / 2;
  const rows = Math.floor((height + 2 * before - kernel) / stride) + 1;
  const columns = Math.floor((width + 2 * before - kernel) / stride) + 1;
  const data = new Float64Array(n * rows * columns * outputs);
  let position = 0;
  for (let image = 0; image < n; image++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, position += outputs) {
        for (let dy = 0; dy < kernel; dy++) {
          for (let dx = 0; dx < kernel; dx++) {
            const y = row * stride + dy - before;
            const z = column * stride + dx - before;
            if (y < 0 || z < 0 || y >= height || z >= width) continue;
            for (let input = 0; input < inputs; input++) {
              const value = x.data[((image * height + y) * width + z) * inputs + input]!;
              for (let output = 0; output < outputs; output++) {
                data[position + output]! +=
                  value * filter.data[((dy * kernel + dx) * inputs + input) * outputs + output]!;
              }
            }
          }
        }
      }
    }
  }
  return { shape: [n, rows, columns, outputs], data };
}

/** Largest value of each 3x3 window at stride 2; what lies outside never wins. */
export function maxPool64(x: Array64): Array64 {
  const [n, height, width, channels] = x.shape as [number, number, number, number];
  const rows = Math.floor((height - 1) / 2) + 1;
  const columns = Math.floor((width - 1) / 2) + 1;
  const data = new Float64Array(n * rows * columns * channels).fill(-Infinity);
  for (let image = 0; image < n; image++) {
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        for (let channel = 0; channel < channels; channel++) {
          const place = ((image * rows + row) * columns + column) * channels + channel;
          for (let y = Math.max(0, 2 * row - 1); y <= Math.min(height - 1, 2 * row + 1); y++) {
            for (let z = Math.max(0, 2 * column - 1); z <= Math.min(width - 1, 2 * column + 1); z++) {
              const value = x.data[((image * height + y) * width + z) * channels + channel]!;
              data[place] = Math.max(data[place]!, value);
            }
          }
        }
      }
    }
  }
  return { shape: [n, rows, columns, channels], data };
}

/** Mean and biased variance per channel (the last axis). */
export function moments64(x: Array64): { mean: Float64Array; variance: Float64Array; count: number } {
  const channels = x.shape.at(-1)!;
  const count = x.data.length / channels;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let i = 0; i < x.data.length; i++) mean[i % channels]! += x.data[i]! / count;
  for (let i = 0; i < x.data.length; i++) variance[i % channels]! += (x.data[i]! - mean[i % channels]!) ** 2 / count;
  return { mean, variance, count };
}

export function batchNorm64(x: Array64, gamma: Array64, beta: Array64, epsilon: number): Array64 {
  const channels = x.shape.at(-1)!;
  const { mean, variance } = moments64(x);
  const data = x.data.map((value, i) => {
    const channel = i % channels;
    return (
      ((value - mean[channel]!) / Math.sqrt(variance[channel]! + epsilon)) * gamma.data[channel]! + beta.data[channel]!
    );
  });
  return { shape: x.shape, data };
}

/** Mean over height and width: [n, h, w, channels] -> [n, channels]. */
export function globalAverage64(x: Array64): Array64 {
  const [n, height, width, channels] = x.shape as [number, number, number, number];
  const data = new Float64Array(n * channels);
  const pixels = height * width;
  for (let i = 0; i < x.data.length; i++) {
    data[Math.floor(i / (pixels * channels)) * channels + (i % channels)]! += x.data[i]! / pixels;
  }
  return { shape: [n, channels], data };
}

export function dense64(x: Array64, weight: Array64, bias: Array64): Array64 {
  const [n, inputs] = x.shape as [number, number];
  const outputs = weight.shape[1]!;
  const data = new Float64Array(n * outputs);
  for (let row = 0; row < n; row++) {
    for (let output = 0; output < outputs; output++) {
      let sum = bias.data[output]!;
      for (let i = 0; i < inputs; i++) sum += x.data[row * inputs + i]! * weight.data[i * outputs + output]!;
      data[row * outputs + output] = sum;
    }
  }
  return { shape: [n, outputs], data };
}

/** Sum over the samples of -sum(target * log softmax(logits)). */
export function crossEntropy64(logits: Array64, labels: ArrayLike<number>, smoothing: number): number {
  const [n, classes] = logits.shape as [number, number];
  let sum = 0;
  for (let row = 0; row < n; row++) {
    const scores = logits.data.subarray(row * classes, (row + 1) * classes);
    const highest = Math.max(...scores);
    const logSum = highest + Math.log(scores.reduce((total, score) => total + Math.exp(score - highest), 0));
    for (let index = 0; index < classes; index++) {
      const target = smoothing / classes + (index === labels[row] ? 1 - smoothing : 0);
      sum += target * (logSum - scores[index]!);
    }
  }
  return sum;
}

/** sum(a * b): makes a scalar of an array output, so that the derivative is the gradient for output gradient `b`. */
export function dot64(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** Central differences of a scalar function with respect to every element of `x`. */
export function numericGradient(f: (x: Array64) => number, x: Array64, step = 1e-5): Float64Array {
  const data = Float64Array.from(x.data);
  const moved = { shape: x.shape, data };
  return x.data.map((value, i) => {
    data[i] = value + step;
    const above = f(moved);
    data[i] = value - step;
    const below = f(moved);
    data[i] = value;
    return (above - below) / (2 * step);
  });
}

/** |actual - expected| / |expected| in the Euclidean norm; NaN where a value is not a number. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < actual.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  return Math.sqrt(difference / Math.max(size, 1e-30));
}
