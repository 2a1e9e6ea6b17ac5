#!/usr/bin/env node
// Stand-in for Valkey: answers INFO with its process id, ends at SIGINT and SIGTERM as the real one does.
import { createServer } from 'node:net';
import { report } from '@REPORT@';

const tell = report('valkey');
const port = Number(process.argv[process.argv.indexOf('--port') + 1]);
createServer((socket) => {
  socket.on('error', () => {});
  socket.on('data', () => socket.write(`$14\r\nprocess_id:${process.pid}\r\n`));
}).listen(port, '127.0.0.1');
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, async () => {
    await tell('stopping');
    process.exit(0);
  });
}
