// Owns: the ways in which libraries name a residual net's tensors, each told by the names in a file, and both directions of the
// translation to torchvision's. Refuses to know: shapes, numbers and which net it is.

/** Translation between torchvision's names and those of a file. */
export interface Naming {
  /** For people. */
  readonly library: string;
  /** torchvision's name of a tensor in the file; names that mean nothing here come back as they are. */
  readonly toTorchvision: (theirs: string) => string;
  /** The file's name of a tensor of torchvision's. */
  readonly fromTorchvision: (ours: string) => string;
}

/** What wrappers put before every name; only where all names have it. */
const PREFIXES = ['module.', 'model.', '_orig_mod.', 'backbone.'];

/** torchvision's names; timm's residual nets have the same. */
const torchvision: Naming = {
  library: 'torchvision',
  toTorchvision: (theirs) => theirs,
  fromTorchvision: (ours) => ours,
};

/** Hugging Face's ResNetForImageClassification; ResNetModel has the same without 'resnet.' and has no classifier. */
const huggingFace = (prefix: string): Naming => ({
  library: 'Hugging Face',
  toTorchvision: (theirs) => {
    const dense = /^classifier\.1\.(.+)$/.exec(theirs);
    if (dense) return `fc.${dense[1]}`;
    const name = theirs.startsWith(prefix) ? theirs.slice(prefix.length) : theirs;
    const stem = /^embedder\.embedder\.(convolution|normalization)\.(.+)$/.exec(name);
    if (stem) return `${stem[1] === 'convolution' ? 'conv1' : 'bn1'}.${stem[2]}`;
    const inner = /^encoder\.stages\.(\d+)\.layers\.(\d+)\.(.+)$/.exec(name);
    if (!inner) return theirs;
    const [, stage, block, rest] = inner as unknown as [string, string, string, string];
    const path = /^(?:layer\.(\d+)|shortcut)\.(convolution|normalization)\.(.+)$/.exec(rest);
    if (!path) return theirs;
    const [, index, kind, field] = path;
    const convolution = kind === 'convolution';
    const module =
      index === undefined ? `downsample.${convolution ? 0 : 1}` : `${convolution ? 'conv' : 'bn'}${Number(index) + 1}`;
    return `layer${Number(stage) + 1}.${block}.${module}.${field}`;
  },
  fromTorchvision: (ours) => {
    const dense = /^fc\.(.+)$/.exec(ours);
    if (dense) return `classifier.1.${dense[1]}`;
    const stem = /^(conv|bn)1\.(.+)$/.exec(ours);
    if (stem) return `${prefix}embedder.embedder.${moduleOf(stem[1] === 'conv')}.${stem[2]}`;
    const inner = /^layer(\d+)\.(\d+)\.(?:downsample\.([01])|(conv|bn)(\d+))\.(.+)$/.exec(ours);
    if (!inner) return ours;
    const [, stage, block, shortcut, kind, index, field] = inner;
    const path =
      shortcut === undefined
        ? `layer.${Number(index) - 1}.${moduleOf(kind === 'conv')}`
        : `shortcut.${moduleOf(shortcut === '0')}`;
    return `${prefix}encoder.stages.${Number(stage) - 1}.layers.${block}.${path}.${field}`;
  },
});

function moduleOf(convolution: boolean): string {
  return convolution ? 'convolution' : 'normalization';
}

function prefixed(prefix: string, inner: Naming): Naming {
  return {
    library: inner.library,
    toTorchvision: (theirs) => inner.toTorchvision(theirs.startsWith(prefix) ? theirs.slice(prefix.length) : theirs),
    fromTorchvision: (ours) => prefix + inner.fromTorchvision(ours),
  };
}

/** The naming that a file's tensors follow; undefined where they are those of no residual net that is known here. */
export function namingOf(names: readonly string[]): Naming | undefined {
  if (names.length === 0) return undefined;
  const prefix = PREFIXES.find((candidate) => names.every((name) => name.startsWith(candidate)));
  if (prefix !== undefined) {
    const inner = namingOf(names.map((name) => name.slice(prefix.length)));
    return inner && prefixed(prefix, inner);
  }
  if (names.some((name) => name.startsWith('resnet.encoder.stages.'))) return huggingFace('resnet.');
  if (names.some((name) => name.startsWith('encoder.stages.'))) return huggingFace('');
  return names.some((name) => /^layer\d+\.\d+\.conv\d+\.weight$/.test(name)) ? torchvision : undefined;
}

/** Counters that torch keeps beside running averages, and that no computation here reads. */
export function isCounter(name: string): boolean {
  return name.endsWith('.num_batches_tracked');
}
