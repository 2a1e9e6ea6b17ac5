// Ends this process when its standard input does, for parents that have no IPC channel (parent-link.ts has the other half).
// Refuses to know who the parent is.

/** The system closes the pipe when the parent dies, however it died; nobody is left to wait for a grace period then. */
export function exitWithInput(): void {
  const stop = (): void => {
    // Unlike exit, this does not wait for a kernel that the compute thread is in.
    process.kill(process.pid, 'SIGKILL');
  };
  process.stdin.on('end', stop);
  process.stdin.on('error', stop);
  process.stdin.resume();
}
