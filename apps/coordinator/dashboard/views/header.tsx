// Name, the pool in three numbers, and whether what is shown is live.
import { formatRate } from '../state/format.js';
import { jobs, loaded, streamStatus, workers } from '../state/store.js';

const statusText = { connecting: 'Connecting', live: 'Live', disconnected: 'Disconnected' } as const;

export function Header() {
  const running = [...jobs.value.values()].filter((job) => job.state === 'running');
  const rate = running.reduce((sum, job) => sum + (job.imagesPerSecond ?? 0), 0);
  const status = streamStatus.value.kind;
  return (
    <header class="header">
      <a class="brand" href="#/" aria-label="Lockstep, all jobs">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" />
          <path d="M6 22h6v-6h7v-6h7" />
          <path class="brand-echo" d="M13 26h6v-6h7" />
        </svg>
        Lockstep
      </a>
      {loaded.value && (
        <dl class="totals" data-testid="totals">
          <Total name={running.length === 1 ? 'job running' : 'jobs running'} value={String(running.length)} />
          <Total name={workers.value.size === 1 ? 'worker' : 'workers'} value={String(workers.value.size)} />
          <Total name="images/s" value={formatRate(rate)} />
        </dl>
      )}
      <nav class="header-links" aria-label="More">
        <a href="/docs">API</a>
      </nav>
      <span class={`live live--${status}`} data-testid="stream-status" data-status={status}>
        {statusText[status]}
      </span>
    </header>
  );
}

function Total({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
