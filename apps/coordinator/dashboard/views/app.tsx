// The page as a whole: header, connection banner, jobs, the selected job, workers.
import { useEffect } from 'preact/hooks';
import { jobs, loaded, namedJobId, selectedJob, selectedJobId, streamStatus } from '../state/store.js';
import { progressOf } from '../state/job-facts.js';
import { ConnectionBanner } from './connection-banner.js';
import { EmptyState } from './empty-state.js';
import { Header } from './header.js';
import { JobDetail } from './job-detail.js';
import { JobList } from './job-list.js';
import { TokenPrompt } from './token-prompt.js';
import { WorkersTable } from './workers-table.js';

export function App() {
  const job = selectedJob.value;
  useEffect(() => {
    document.title = job === null ? 'Lockstep' : `${Math.floor(progressOf(job) * 100)} % · ${job.name} · Lockstep`;
  }, [job]);
  return (
    <>
      <a class="skip-link" href="#main" onClick={skipToMain}>
        Skip to the jobs
      </a>
      <Header />
      <ConnectionBanner />
      <TokenPrompt />
      <main id="main" tabIndex={-1} class={namedJobId.value === null ? 'page' : 'page page--job-named'}>
        {loaded.value ? <Jobs /> : <p class="loading">{waitingText()}</p>}
        {loaded.value && <WorkersTable />}
      </main>
    </>
  );
}

function Jobs() {
  const id = selectedJobId.value;
  const job = selectedJob.value;
  if (jobs.value.size === 0 && id === null) {
    return <EmptyState kind="jobs" />;
  }
  return (
    <div class="split">
      <JobList />
      {job === null ? <EmptyState kind="unknown-job" name={id ?? ''} /> : <JobDetail job={job} key={job.id} />}
    </div>
  );
}

function waitingText(): string {
  return streamStatus.value.kind === 'disconnected'
    ? 'Nothing is known of the coordinator yet.'
    : 'Asking the coordinator…';
}

/** The address holds the selected job, so the link must not change it. */
function skipToMain(event: Event): void {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
