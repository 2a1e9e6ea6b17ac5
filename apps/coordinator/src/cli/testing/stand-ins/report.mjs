// Tells the spec that this process is there: the connection's end tells that it is gone.
import { connect } from 'node:net';

export function report(role) {
  const socket = connect({ host: '127.0.0.1', port: Number(process.env.STAND_IN_REPORT_PORT) });
  socket.on('error', () => {});
  socket.write(`start ${role} ${process.pid}\n`);
  return (text) => new Promise((resolve) => socket.write(`${text}\n`, resolve));
}
