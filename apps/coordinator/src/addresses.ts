// Host names and ports as people and programs write them: loopback, wildcard, URL.
// Refuses to resolve names: what is loopback is told by the name alone.

/** The URL at which this machine reaches a server bound to `host`: a wildcard is reached by loopback. */
export function httpUrl(secure: boolean, host: string, port: number): string {
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${secure ? 'https' : 'http'}://${bracketed(name)}:${port}`;
}

/** A host as it stands before a colon and a port: IPv6 in brackets. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** Whether only this machine can reach a server bound to `host`. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Whether a server bound to `host` listens on every address of this machine. */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}
