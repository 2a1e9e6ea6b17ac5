// What to do where there is nothing to show.
import { Copyable } from './copyable.js';

type Props = { kind: 'jobs' | 'workers' } | { kind: 'unknown-job'; name: string };

export function EmptyState(props: Props) {
  switch (props.kind) {
    case 'jobs':
      return (
        <section class="empty" data-testid="no-jobs">
          <h2>No job yet</h2>
          <p>Submit one; this one trains ResNet-20 on CIFAR-10 within minutes:</p>
          <Copyable text="npx lockstep submit --preset resnet20-cifar10-demo" what="command" block />
        </section>
      );
    case 'workers':
      return (
        <div class="empty" data-testid="no-workers">
          <h3>No worker is connected</h3>
          <p>Jobs wait until there is one. Start one on any machine that reaches the coordinator:</p>
          <Copyable text="npx lockstep worker" what="command" block />
          <p>
            On another host, set <code>LOCKSTEP_COORDINATOR</code> to this coordinator's host and gRPC port first.
          </p>
        </div>
      );
    case 'unknown-job':
      return (
        <section class="empty" data-testid="unknown-job">
          <h2>No such job</h2>
          <p>
            There is no job <code>{props.name}</code>; it may have been deleted. <a href="#/">All jobs</a>
          </p>
        </section>
      );
  }
}
