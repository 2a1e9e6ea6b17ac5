// The pool: who computes what, how fast, and whose results were refused.
import type { ComponentChildren } from 'preact';
import type { WorkerView } from '../../src/jobs/ports.js';
import { formatBytes, formatCount, formatDuration, formatRate, formatShortTime } from '../state/format.js';
import { now, workersInOrder, type KnownWorker } from '../state/store.js';
import { EmptyState } from './empty-state.js';

const columns = [
  'Worker',
  'State',
  'Current task',
  'Images/s',
  'Task p50',
  'Task p95',
  'Accepted',
  'Refused',
  'Heartbeat',
  'Memory',
] as const;
const numeric = new Set<string>(columns.slice(3));

export function WorkersTable() {
  const list = workersInOrder.value;
  return (
    <section class="workers" aria-labelledby="workers-title">
      <h2 id="workers-title">
        Workers <span class="count">{list.length}</span>
      </h2>
      {list.length === 0 ? (
        <EmptyState kind="workers" />
      ) : (
        <table role="table" data-testid="workers-table">
          <thead role="rowgroup">
            <tr role="row">
              {columns.map((name) => (
                <th role="columnheader" scope="col" class={numeric.has(name) ? 'number' : ''} key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody role="rowgroup">
            {list.map((worker) => (
              <WorkerRow worker={worker} key={worker.id} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function WorkerRow({ worker }: { worker: KnownWorker }) {
  const heartbeatAge = worker.heartbeatAgeSeconds + Math.max(0, now.value - worker.heardAt) / 1000;
  return (
    <tr role="row" data-testid="worker-row" data-worker-id={worker.id} data-state={worker.state}>
      <th role="rowheader" scope="row">
        <span class="worker-name">{worker.name}</span>
        <span class="worker-device">{worker.device}</span>
        <span class="worker-device" title={worker.numericsClass}>
          class {worker.classId}
        </span>
      </th>
      <Cell name="State">
        <span class={`chip chip--${worker.state}`}>{worker.state}</span>
      </Cell>
      <Cell name="Current task">{worker.currentTask ?? <span class="quiet">idle</span>}</Cell>
      <Cell name="Images/s">{formatRate(worker.imagesPerSecond)}</Cell>
      <Cell name="Task p50">{formatShortTime(worker.stepSecondsP50)}</Cell>
      <Cell name="Task p95">{formatShortTime(worker.stepSecondsP95)}</Cell>
      <Cell name="Accepted">{formatCount(worker.accepted)}</Cell>
      <Cell name="Refused">{refusedText(worker)}</Cell>
      <Cell name="Heartbeat">
        <span class={heartbeatAge >= LATE_HEARTBEAT_SECONDS ? 'late' : ''}>{formatDuration(heartbeatAge)} ago</span>
      </Cell>
      <Cell name="Memory">{formatBytes(worker.residentBytes)}</Cell>
    </tr>
  );
}

/** Heartbeats come each second. */
const LATE_HEARTBEAT_SECONDS = 4;

/** The name is shown in place of the table's head on narrow screens. */
function Cell({ name, children }: { name: (typeof columns)[number]; children: ComponentChildren }) {
  return (
    <td role="cell" data-label={name} class={numeric.has(name) ? 'number' : ''}>
      {children}
    </td>
  );
}

function refusedText(worker: WorkerView): ComponentChildren {
  const reasons = Object.entries(worker.refused).filter(([, count]) => count > 0);
  if (reasons.length === 0) {
    return '0';
  }
  const total = reasons.reduce((sum, [, count]) => sum + count, 0);
  const words = reasons.map(([reason, count]) => `${formatCount(count)} ${reason.replaceAll('_', ' ')}`).join(', ');
  return (
    <>
      {formatCount(total)} <span class="quiet">({words})</span>
    </>
  );
}
