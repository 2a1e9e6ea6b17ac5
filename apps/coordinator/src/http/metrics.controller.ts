// Prometheus metrics: jobs and workers as the ports show them at the moment of the scrape, and the process itself.
// Refuses to count anything on its own: what is counted here is counted elsewhere.
import { Controller, Get, Inject, Res } from '@nestjs/common';
import type { OnModuleDestroy } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Response } from 'express';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { jobStates, JOBS_PORT, WORKERS_PORT } from '../jobs/ports.js';
import type { JobsPort, JobView, WorkersPort, WorkerView } from '../jobs/ports.js';
import { EventStreams } from './event-streams.js';
import { Operation } from './operation.js';

type Labels = Readonly<Record<string, string>>;

@ApiTags('health')
@Controller('metrics')
export class MetricsController implements OnModuleDestroy {
  private readonly process = new Registry();

  constructor(
    @Inject(JOBS_PORT) private readonly jobs: JobsPort,
    @Inject(WORKERS_PORT) private readonly workers: WorkersPort,
    @Inject(EventStreams) private readonly streams: EventStreams,
  ) {
    collectDefaultMetrics({ register: this.process, prefix: 'lockstep_' });
  }

  onModuleDestroy(): void {
    this.process.clear();
  }

  @Get()
  @Operation({
    summary: 'Metrics in the text format of Prometheus',
    access: 'viewer',
    answers: { 200: { description: 'Jobs that are not ended, workers, process', mediaType: 'text/plain' } },
  })
  async scrape(@Res() response: Response): Promise<void> {
    const now = new Registry();
    describeJobs(now, this.allJobs());
    describeWorkers(now, this.workers.list());
    gauge(now, 'lockstep_event_streams', 'Event streams that are open').set(this.streams.count);
    const text = `${await now.metrics()}\n${await this.process.metrics()}`;
    response.set('Cache-Control', 'no-store').type(now.contentType).send(text);
  }

  private *allJobs(): Generator<JobView> {
    let cursor: string | null = null;
    do {
      const page: { jobs: JobView[]; nextCursor: string | null } = this.jobs.list({
        limit: 200,
        ...(cursor === null ? {} : { cursor }),
      });
      yield* page.jobs;
      cursor = page.nextCursor;
    } while (cursor !== null);
  }
}

/** Ended jobs are only counted: a series for each of them would never go away. */
function describeJobs(registry: Registry, jobs: Iterable<JobView>): void {
  const byState = gauge(registry, 'lockstep_jobs', 'Jobs by state', 'state');
  const labels = ['job', 'name'];
  const step = gauge(registry, 'lockstep_job_step', 'Committed steps', ...labels);
  const totalSteps = gauge(registry, 'lockstep_job_total_steps', 'Steps that the job has in all', ...labels);
  const loss = gauge(registry, 'lockstep_job_loss', 'Mean training loss of the last step, nats', ...labels);
  const top1 = gauge(registry, 'lockstep_job_top1', 'Share of training samples right in the last step', ...labels);
  const images = gauge(registry, 'lockstep_job_images_per_second', 'Training throughput', ...labels);
  const eta = gauge(registry, 'lockstep_job_eta_seconds', 'Time left', ...labels);
  const useful = gauge(registry, 'lockstep_job_useful_workers', 'Workers that can help at once', ...labels);
  const usefulNow = gauge(
    registry,
    'lockstep_useful_workers',
    'Workers that all jobs not yet ended can use at once: scale on this',
  );
  const counts = new Map<string, number>(jobStates.map((state) => [state, 0]));
  let sum = 0;
  for (const job of jobs) {
    counts.set(job.state, (counts.get(job.state) ?? 0) + 1);
    if (job.state !== 'queued' && job.state !== 'running' && job.state !== 'paused') continue;
    const of = { job: job.id, name: job.name };
    step.set(of, job.step);
    totalSteps.set(of, job.totalSteps);
    setKnown(loss, of, job.loss);
    setKnown(top1, of, job.top1);
    setKnown(images, of, job.imagesPerSecond);
    setKnown(eta, of, job.etaSeconds);
    useful.set(of, job.usefulWorkers);
    if (job.state !== 'paused') sum += job.usefulWorkers;
  }
  usefulNow.set(sum);
  for (const [state, count] of counts) byState.set({ state }, count);
}

function describeWorkers(registry: Registry, workers: readonly WorkerView[]): void {
  const byState = gauge(registry, 'lockstep_workers', 'Connected workers by state', 'state');
  const images = gauge(registry, 'lockstep_worker_images_per_second', 'Throughput', 'worker');
  const p50 = gauge(registry, 'lockstep_worker_step_seconds_p50', 'Median time of a task', 'worker');
  const p95 = gauge(registry, 'lockstep_worker_step_seconds_p95', '95th percentile of the time of a task', 'worker');
  const accepted = gauge(
    registry,
    'lockstep_worker_contributions_accepted',
    'Contributions accepted since it connected',
    'worker',
  );
  const refused = gauge(
    registry,
    'lockstep_worker_contributions_refused',
    'Contributions refused since it connected',
    'worker',
    'reason',
  );
  const heartbeat = gauge(registry, 'lockstep_worker_heartbeat_age_seconds', 'Time since the last heartbeat', 'worker');
  const resident = gauge(registry, 'lockstep_worker_resident_bytes', 'Memory', 'worker');
  const tensors = gauge(registry, 'lockstep_worker_tensors', 'Live tensors', 'worker');
  const decoded = gauge(registry, 'lockstep_worker_images_prepared', 'Image files prepared since it started', 'worker');
  const decoding = gauge(
    registry,
    'lockstep_worker_image_seconds',
    'Time that they took, summed over images of which several are prepared at once',
    'worker',
  );
  const hits = gauge(registry, 'lockstep_worker_image_cache_hits', 'Image files that were in memory already', 'worker');
  const starved = gauge(
    registry,
    'lockstep_worker_starved_seconds',
    'Time that computing waited for images and for nothing else',
    'worker',
  );
  for (const state of ['active', 'hung', 'draining'] as const) {
    byState.set({ state }, workers.filter((worker) => worker.state === state).length);
  }
  for (const worker of workers) {
    const of = { worker: worker.name };
    setKnown(images, of, worker.imagesPerSecond);
    setKnown(p50, of, worker.stepSecondsP50);
    setKnown(p95, of, worker.stepSecondsP95);
    accepted.set(of, worker.accepted);
    for (const [reason, count] of Object.entries(worker.refused)) refused.set({ ...of, reason }, count);
    heartbeat.set(of, worker.heartbeatAgeSeconds);
    resident.set(of, worker.residentBytes);
    tensors.set(of, worker.tensors);
    decoded.set(of, worker.images.images);
    decoding.set(of, worker.images.seconds);
    hits.set(of, worker.images.cacheHits);
    starved.set(of, worker.images.starvedSeconds);
  }
}

function gauge(registry: Registry, name: string, help: string, ...labelNames: string[]): Gauge {
  return new Gauge({ name, help, labelNames, registers: [registry] });
}

function setKnown(target: Gauge, labels: Labels, value: number | null): void {
  if (value !== null) target.set(labels, value);
}
