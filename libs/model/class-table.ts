// Owns: counting, class by class, how often a net was right and what it took a class for instead.
// Refuses to know: how scores came about, and names of classes.

export interface ClassFigures {
  readonly label: number;
  readonly samples: number;
  readonly top1Hits: number;
  readonly top5Hits: number;
}

/** Images of class `label` that were taken for class `predicted`. */
export interface Confusion {
  readonly label: number;
  readonly predicted: number;
  readonly count: number;
}

export class ClassTable {
  readonly #classes: number;
  readonly #samples: Uint32Array;
  readonly #top1: Uint32Array;
  readonly #top5: Uint32Array;
  /** By label * classes + predicted; sparse, as most pairs never occur. */
  readonly #confusions = new Map<number, number>();

  constructor(classes: number) {
    this.#classes = classes;
    this.#samples = new Uint32Array(classes);
    this.#top1 = new Uint32Array(classes);
    this.#top5 = new Uint32Array(classes);
  }

  /** @param scores [n, classes] */
  add(labels: Int32Array, scores: Float32Array): void {
    for (const [sample, label] of labels.entries()) {
      const best = highest(scores.subarray(sample * this.#classes, (sample + 1) * this.#classes), 5);
      this.#samples[label]! += 1;
      if (best.includes(label)) this.#top5[label]! += 1;
      const [predicted] = best;
      if (predicted === label) this.#top1[label]! += 1;
      else if (predicted !== undefined) {
        const key = label * this.#classes + predicted;
        this.#confusions.set(key, (this.#confusions.get(key) ?? 0) + 1);
      }
    }
  }

  /** Of every class that had samples, in the order of their numbers. */
  get rows(): ClassFigures[] {
    return Array.from({ length: this.#classes }, (_, label) => ({
      label,
      samples: this.#samples[label]!,
      top1Hits: this.#top1[label]!,
      top5Hits: this.#top5[label]!,
    })).filter(({ samples }) => samples > 0);
  }

  /** The most frequent mistakes, most first. */
  worstConfusions(most: number): Confusion[] {
    return [...this.#confusions]
      .map(([key, count]) => ({
        label: Math.floor(key / this.#classes),
        predicted: key % this.#classes,
        count,
      }))
      .sort((a, b) => b.count - a.count || a.label - b.label || a.predicted - b.predicted)
      .slice(0, most);
  }
}

/** Indices of the `most` highest scores, the highest first; of equal ones the lower index first. What is not a number is none of them. */
export function highest(scores: ArrayLike<number>, most: number): number[] {
  const best: number[] = [];
  for (let index = 0; index < scores.length; index++) {
    const score = scores[index]!;
    if (Number.isNaN(score)) continue;
    let place = best.length;
    while (place > 0 && scores[best[place - 1]!]! < score) place -= 1;
    if (place >= most) continue;
    best.splice(place, 0, index);
    if (best.length > most) best.pop();
  }
  return best;
}
