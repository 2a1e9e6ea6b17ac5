import { expect, it } from 'vitest';
import { keptText } from './jobs.js';

it('tells what a cancelled job keeps, and how to be rid of it', () => {
  const checkpoint = {
    files: [
      { name: 'model.safetensors', bytes: 700e6 },
      { name: 'manifest.json', bytes: 5e6 },
    ],
  };
  expect(keptText('7', [checkpoint, checkpoint])).toBe(
    'Its checkpoints keep 1.41 GB; `npx lockstep delete 7` removes them.',
  );
  expect(keptText('7', [])).toBe('Its files stay; `npx lockstep delete 7` removes them.');
});
