// Valkey for as long as the system runs: started again on the same port when it dies.
// Refuses to know how Valkey is started and made to end with this process: that is set-up's.
import { join } from 'node:path';
import { freePort, startValkey, type Valkey } from '../setup/valkey.js';
import { sentenceOf } from './exit.js';
import type { Companion } from './supervision/local-system.js';
import { type Death, RestartPolicy } from './supervision/restart-policy.js';
import { deathText } from './supervision/supervised-process.js';

export interface KeptValkeyOptions {
  readonly binary: string;
  readonly dataDir: string;
  readonly say: (line: string) => void;
}

const GIVE_UP_AFTER = 5;

/**
 * Ctrl-C in a terminal reaches Valkey too and ends it, while workers still finish their tasks: it is kept up, without a
 * word, until `stop`.
 */
export class KeptValkey implements Companion {
  readonly failure: Promise<never>;
  private fail!: (error: Error) => void;
  private readonly policy = new RestartPolicy({ giveUpAfter: GIVE_UP_AFTER });
  private valkey: Valkey | undefined;
  private restart: NodeJS.Timeout | undefined;
  private stopping = false;
  private quiet = false;

  private constructor(
    private readonly options: KeptValkeyOptions,
    private readonly port: number,
  ) {
    this.failure = new Promise((_, reject) => {
      this.fail = reject;
    });
    // Whoever does not wait for it has no Valkey to lose.
    this.failure.catch(() => {});
  }

  static async create(options: KeptValkeyOptions): Promise<KeptValkey> {
    return new KeptValkey(options, await freePort());
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const { binary, dataDir } = this.options;
    const startedAt = performance.now();
    const valkey = await startValkey({ binary, dir: join(dataDir, 'valkey'), port: this.port });
    this.valkey = valkey;
    void valkey.ended.then(({ code, signal }) => {
      this.valkey = undefined;
      this.died({ code, signal, livedMs: performance.now() - startedAt });
    });
    if (this.stopping) {
      await valkey.stop(0);
    }
  }

  hush(): void {
    this.quiet = true;
  }

  async stop(graceMs: number): Promise<void> {
    this.stopping = true;
    clearTimeout(this.restart);
    await this.valkey?.stop(graceMs);
  }

  private died(death: Death, why = deathText(death)): void {
    if (this.stopping) {
      return;
    }
    const decision = this.policy.afterDeath(death);
    if (decision.kind === 'give-up') {
      this.fail(new Error(`Valkey cannot be kept alive: ${why}`));
      return;
    }
    if (!this.quiet) {
      this.options.say(`Valkey ${why} and is started again.`);
    }
    this.restart = setTimeout(() => {
      this.start().catch((error: unknown) => this.died({ code: null, signal: null, livedMs: 0 }, sentenceOf(error)));
    }, decision.delayMs);
  }
}
