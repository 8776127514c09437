// The sha256 over everything that the built assets are made of: one line a file, in the order of their names, and the
// digest of those lines. A test of the Python suite computes the same and fails when the assets are stale.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const TARGET = join(root, '..', 'aiplat_lab', 'labextension', 'sources.sha256');
const FOLDERS = ['schema', 'src', 'style'];
const FILES = ['package-lock.json', 'package.json', 'tsconfig.json'];

const sha256 = data => createHash('sha256').update(data).digest('hex');

const names = FOLDERS.flatMap(folder =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry =>
      join(entry.parentPath, entry.name)
        .slice(root.length + 1)
        .replaceAll('\\', '/')
    )
)
  .concat(FILES)
  .sort();
const lines = names.map(name => `${sha256(readFileSync(join(root, name)))}  ${name}\n`).join('');
const text = `${sha256(lines)}\n`;

if (process.argv.includes('--write')) {
  writeFileSync(TARGET, text);
} else {
  process.stdout.write(text);
}
