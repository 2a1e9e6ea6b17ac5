// Stand-in for a worker: it only lives, and stops when asked.
import { linkToParent } from '#proto/parent-link.js';
import { report } from '@REPORT@';

process.title = 'lockstep-worker';
const parent = linkToParent();
const tell = report('worker');
process.stdout.write(`${JSON.stringify({ level: 30, msg: 'all is well' })}\n`);
process.on('SIGTERM', async () => {
  await tell('stopping');
  if (process.env.STAND_IN_WORKER !== 'lingers') process.exit(0);
});
process.on('SIGUSR2', () => {
  parent.tell('drained');
  setImmediate(() => process.exit(0));
});
setInterval(() => {}, 1_000_000);
