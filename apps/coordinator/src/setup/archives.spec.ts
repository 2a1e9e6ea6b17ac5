import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { extractTarGz } from './tar-archive.js';
import { ArchiveError, extractZipEntry, readZipDirectory } from './zip-archive.js';

let folder: string;
const big = Buffer.alloc(3_000_000, 'lockstep ');
const makeArchives = `
import zipfile, tarfile, io, sys
folder = sys.argv[1]
big = (b'lockstep ' * 400000)[:3000000]
def zip(name):
    with zipfile.ZipFile(folder + '/' + name, 'w') as z:
        z.writestr('a/big.txt', big, zipfile.ZIP_DEFLATED)
        z.writestr('a/', '')
        z.writestr('stored.txt', 'as it is', zipfile.ZIP_STORED)
        z.writestr('empty.txt', '', zipfile.ZIP_DEFLATED)
        program = zipfile.ZipInfo('bin/ptxas'); program.create_system = 3; program.external_attr = 0o100755 << 16
        z.writestr(program, 'run me')
        z.comment = b'a comment'
zip('plain.zip')
zipfile.ZIP64_LIMIT = 4
zip('wide.zip')
with tarfile.open(folder + '/x.tgz', 'w:gz') as t:
    for name, data in (('package/a.txt', b'hello'), ('package/big.bin', big), ('package/empty', b''), ('package/not-wanted', b'x' * 700)):
        info = tarfile.TarInfo(name); info.size = len(data); t.addfile(info, io.BytesIO(data))
    link = tarfile.TarInfo('package/link.txt'); link.type = tarfile.SYMTYPE; link.linkname = '/etc/passwd'; t.addfile(link)
`;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lockstep-archives-'));
  execFileSync('python3', ['-c', makeArchives, folder]);
});
afterAll(async () => await rm(folder, { recursive: true }));

describe.each(['plain.zip', 'wide.zip'])('reading %s, made by Python', (name) => {
  it('lists the files and unpacks each with its hash', async () => {
    const path = join(folder, name);
    const entries = await readZipDirectory(path);
    expect(entries.map((entry) => [entry.name, entry.bytes])).toEqual([
      ['a/big.txt', big.length],
      ['stored.txt', 8],
      ['empty.txt', 0],
      ['bin/ptxas', 6],
    ]);
    for (const [i, content] of [big, Buffer.from('as it is'), Buffer.alloc(0), Buffer.from('run me')].entries()) {
      const target = join(folder, `out-${name}`, `${i}`);
      let seen = 0;
      const sha256 = await extractZipEntry(path, entries[i]!, target, (bytes) => (seen += bytes));
      expect(sha256).toBe(createHash('sha256').update(content).digest('hex'));
      expect((await readFile(target)).equals(content)).toBe(true);
      expect(seen).toBe(content.length);
      // TensorFlow runs a program of NVIDIA's wheels.
      expect(((await stat(target)).mode & 0o100) !== 0).toBe(entries[i]!.name === 'bin/ptxas');
    }
  });

  it('refuses an archive that is cut off, at any length', async () => {
    const whole = await readFile(join(folder, name));
    const path = join(folder, `cut-${name}`);
    for (const length of [0, 10, 100, whole.length >> 1, whole.length - 30]) {
      await writeFile(path, whole.subarray(0, length));
      await expect(readZipDirectory(path)).rejects.toThrow(ArchiveError);
    }
  });

  it('notices a flipped bit in a file', async () => {
    const path = join(folder, `flipped-${name}`);
    const whole = await readFile(join(folder, name));
    const at = whole.indexOf('as it is');
    whole[at] = whole[at]! ^ 1;
    await writeFile(path, whole);
    const stored = (await readZipDirectory(path)).find((entry) => entry.name === 'stored.txt');
    await expect(extractZipEntry(path, stored!, join(folder, 'flipped'))).rejects.toThrow(
      /stored\.txt has another size or checksum/,
    );
  });
});

describe('a full disk', () => {
  it('comes out as the error of the operating system', async () => {
    const path = join(folder, 'plain.zip');
    const [entry] = await readZipDirectory(path);
    await expect(extractZipEntry(path, entry!, '/dev/full')).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});

describe('extractTarGz', () => {
  it('unpacks the files asked for and nothing else', async () => {
    const out = join(folder, 'tar');
    const names = await extractTarGz(join(folder, 'x.tgz'), (name) =>
      name.includes('not-wanted') ? undefined : join(out, name),
    );
    expect(names).toEqual(['package/a.txt', 'package/big.bin', 'package/empty']);
    expect(await readFile(join(out, 'package/a.txt'), 'utf8')).toBe('hello');
    expect((await readFile(join(out, 'package/big.bin'))).equals(big)).toBe(true);
    expect(await readFile(join(out, 'package/empty'))).toHaveLength(0);
  });

  it('refuses an archive that is cut off', async () => {
    const path = join(folder, 'cut.tgz');
    const whole = await readFile(join(folder, 'x.tgz'));
    await writeFile(path, whole);
    await truncate(path, whole.length - 200);
    await expect(extractTarGz(path, (name) => join(folder, 'cut', name))).rejects.toThrow(ArchiveError);
  });
});
