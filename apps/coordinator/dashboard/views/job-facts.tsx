// What identifies a job's result and reproduces it: hashes, checkpoint, numerics class, spec.
import type { ComponentChildren } from 'preact';
import type { JobView } from '../../src/jobs/ports.js';
import { formatCount, formatInstant, formatParameters, wordsOf } from '../state/format.js';
import { Copyable } from './copyable.js';

export function JobFacts({ job }: { job: JobView }) {
  const { model, dataset, training } = job.spec;
  return (
    <section class="facts" aria-labelledby="facts-title">
      <h2 id="facts-title">Result and recipe</h2>
      <dl class="fact-list">
        <Fact name="Checkpoint">
          {job.checkpoint === null ? (
            'none yet'
          ) : (
            <>
              <Copyable text={job.checkpoint.path} what="path of the checkpoint" testId="job-checkpoint" />
              <span class="fact-note">step {formatCount(job.checkpoint.step)}</span>
            </>
          )}
        </Fact>
        <Fact name="Parameters' SHA-256">
          <Hash value={job.parametersSha256} what="hash of the parameters" testId="job-parameters-sha256" />
        </Fact>
        <Fact name="State's SHA-256">
          <Hash value={job.stateSha256} what="hash of the state" testId="job-state-sha256" />
        </Fact>
        <Fact name="Numerics class">
          <span data-testid="job-numerics-class">
            {job.numericsClass === null ? 'chosen when the job starts' : <Breakable text={job.numericsClass} />}
          </span>
        </Fact>
        {job.kernels !== null && <Fact name="Kernels">{job.kernels}</Fact>}
        <Fact name="Model">
          {model.architecture}, {formatParameters(job.parameterCount)} parameters, on {dataset.kind}
        </Fact>
        <Fact name="Training">
          mini-batches of {formatCount(training.batchSize)} in shards of {formatCount(training.shardSize)},{' '}
          {training.precision}, seed {training.seed}
        </Fact>
        <Fact name="Computed by">{job.workers.length === 0 ? 'nobody now' : job.workers.join(', ')}</Fact>
        <Fact name="Times">
          submitted {formatInstant(job.createdAt)}
          {job.startedAt !== null && `, started ${formatInstant(job.startedAt)}`}
          {job.endedAt !== null && `, ended ${formatInstant(job.endedAt)}`}
        </Fact>
        <Fact name="Id">
          <Copyable text={job.id} what="id of the job" testId="job-id" />
        </Fact>
      </dl>
      <details class="spec" data-testid="job-spec">
        <summary>Resolved spec</summary>
        <p>Submitted again, it gives the same bits on workers of the same numerics class with the same kernels.</p>
        <pre tabIndex={0}>{JSON.stringify(job.spec, null, 2)}</pre>
      </details>
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Long names may go on in the next line, but not from inside a word. */
function Breakable({ text }: { text: string }) {
  return (
    <>
      {wordsOf(text).map((word) => (
        <span key={word}>
          {word}
          <wbr />
        </span>
      ))}
    </>
  );
}

function Hash({ value, what, testId }: { value: string | null; what: string; testId: string }) {
  return value === null ? <>with the first checkpoint</> : <Copyable text={value} what={what} testId={testId} />;
}
