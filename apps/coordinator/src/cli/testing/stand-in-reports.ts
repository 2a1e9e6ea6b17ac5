// Hears from stand-in programs when they start, what they say, and when they are gone: by a connection that each holds.
// Refuses to know what the specs check.
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export interface StandIn {
  readonly role: string;
  readonly pid: number;
  /** What it said after its start, in order. */
  readonly said: string[];
  gone: boolean;
}

export class StandInReports {
  /** Everything heard, in order: `start worker 12`, `stopping worker 12`, `gone worker 12`. */
  readonly journal: string[] = [];
  readonly standIns: StandIn[] = [];
  private readonly wakers = new Set<() => void>();

  private constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => this.hear(socket));
  }

  static async start(): Promise<StandInReports> {
    const server = createServer();
    const reports = new StandInReports(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return reports;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  living(role?: string): StandIn[] {
    return this.standIns.filter((standIn) => !standIn.gone && (role === undefined || standIn.role === role));
  }

  /** Resolves as soon as `condition` gives something; looked at again after each thing heard. */
  async until<Result>(condition: () => Result | undefined | false): Promise<Result> {
    for (;;) {
      const result = condition();
      if (result !== undefined && result !== false) {
        return result;
      }
      await new Promise<void>((resolve) => {
        this.wakers.add(resolve);
      });
    }
  }

  close(): void {
    this.server.close();
  }

  private hear(socket: Socket): void {
    let standIn: StandIn | undefined;
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {
      // A killed program's connection is reset; `close` follows.
    });
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (standIn === undefined) {
          const [, role, pid] = line.split(' ');
          standIn = { role: role!, pid: Number(pid), said: [], gone: false };
          this.standIns.push(standIn);
          this.note(line);
        } else {
          standIn.said.push(line);
          this.note(`${line} ${standIn.role} ${standIn.pid}`);
        }
      }
    });
    socket.on('close', () => {
      if (standIn !== undefined) {
        standIn.gone = true;
        this.note(`gone ${standIn.role} ${standIn.pid}`);
      }
    });
  }

  private note(line: string): void {
    this.journal.push(line);
    const wakers = [...this.wakers];
    this.wakers.clear();
    for (const wake of wakers) {
      wake();
    }
  }
}
