// Live events of one job or of all: a snapshot, then what changes; a client that comes back goes on where it was.
// Refuses to know how events are framed, and keeps none: the hub does.
import { Controller, Get, Inject, Param, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { EVENT_HUB, JOBS_PORT, WORKERS_PORT } from '../jobs/ports.js';
import type { JobsPort, WorkersPort } from '../jobs/ports.js';
import type { EventHub, LockstepEvent } from '../telemetry/event-hub.js';
import { EventStreams } from './event-streams.js';
import type { ServerSentEvent } from './event-streams.js';
import { Operation } from './operation.js';

/** Jobs in a snapshot of everything, newest first. */
const SNAPSHOT_JOBS = 100;

const description =
  'Server-sent events: snapshot, then job (a Job), worker (a Worker), each {id, gone: true} once it is no more, and points ({jobId, series}). ' +
  'Last-Event-ID goes on after that event; where it is too old, a snapshot comes first. Lines that start with a colon are heartbeats.';
const answers = { 200: { description: 'The stream', mediaType: 'text/event-stream' } };
const lastEventIdHeader = {
  name: 'Last-Event-ID',
  required: false,
  description: 'The id of the last event that was seen',
};

@ApiTags('events')
@Controller('api/v1')
export class EventsController {
  constructor(
    @Inject(JOBS_PORT) private readonly jobs: JobsPort,
    @Inject(WORKERS_PORT) private readonly workers: WorkersPort,
    @Inject(EVENT_HUB) private readonly hub: EventHub,
    @Inject(EventStreams) private readonly streams: EventStreams,
  ) {}

  @Get('events')
  @ApiHeader(lastEventIdHeader)
  @Operation({
    summary: 'Events of all jobs and workers; snapshot is {jobs, workers}',
    description,
    access: 'viewer',
    answers,
    problems: ['unavailable'],
  })
  async ofAll(@Req() request: Request, @Res() response: Response): Promise<void> {
    await this.streams.serve(request, response, (signal) =>
      this.follow(undefined, lastEventId(request), signal, () => ({
        jobs: this.jobs.list({ limit: SNAPSHOT_JOBS }).jobs,
        workers: this.workers.list(),
      })),
    );
  }

  @Get('jobs/:id/events')
  @ApiHeader(lastEventIdHeader)
  @Operation({
    summary: 'Events of one job and of the workers; snapshot is {job, workers}',
    description,
    access: 'viewer',
    answers,
    problems: ['not-found', 'unavailable'],
  })
  async ofJob(@Param('id') id: string, @Req() request: Request, @Res() response: Response): Promise<void> {
    const jobId = this.jobs.get(id).id; // an unknown job is a 404 as long as there is a status to send
    await this.streams.serve(request, response, (signal) =>
      this.follow(jobId, lastEventId(request), signal, () => ({
        job: this.jobs.get(jobId),
        workers: this.workers.list(),
      })),
    );
  }

  private async *follow(
    jobId: string | undefined,
    after: number | undefined,
    signal: AbortSignal,
    snapshot: () => object,
  ): AsyncGenerator<ServerSentEvent> {
    for await (const event of this.hub.subscribe({ jobId }, after, signal)) {
      if (event.type === 'snapshot-needed') yield { id: event.id, event: 'snapshot', data: snapshot() };
      else yield { id: event.id, event: event.type, data: dataOf(event) };
    }
  }
}

/** Points say which job they are of: views carry their id themselves. */
function dataOf({ type, jobId, data }: LockstepEvent): unknown {
  return type === 'points' ? { jobId, ...(data as object) } : data;
}

/** What is no event id counts as none: the client then gets a snapshot. */
function lastEventId(request: Request): number | undefined {
  const header = request.get('last-event-id');
  return header !== undefined && /^\d{1,16}$/.test(header) ? Number(header) : undefined;
}
