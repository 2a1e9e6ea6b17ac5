// REST for jobs: submit, list, show, act, delete.
// Refuses to decide anything about jobs: the port does.
import { Controller, Delete, Get, HttpCode, Inject, Param, Post, Query, Req, Res } from '@nestjs/common';
import { ApiBody, ApiHeader, ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { JOBS_PORT } from '../jobs/ports.js';
import type { JobsPort, JobView } from '../jobs/ports.js';
import { Operation, reference } from './operation.js';
import { idempotencyKey, jsonBody, listQuery, resumeQuery } from './requests.js';
import type { ListQuery, ResumeQuery } from './requests.js';

@ApiTags('jobs')
@Controller('api/v1/jobs')
export class JobsController {
  constructor(@Inject(JOBS_PORT) private readonly jobs: JobsPort) {}

  @Post()
  @ApiBody({ schema: reference('JobSpecInput') })
  @ApiHeader({ name: 'Idempotency-Key', required: false, description: 'The same key gives the same job' })
  @Operation({
    summary: 'Submit a job',
    description:
      'Any field may be left out: the preset, then derived defaults fill it. The answer holds the resolved spec.',
    access: 'operator',
    answers: {
      201: { description: 'Made', body: 'SubmittedJob' },
      200: { description: 'The job that the same Idempotency-Key made before', body: 'SubmittedJob' },
    },
    problems: ['invalid-request', 'too-large', 'unsupported-media-type', 'invalid-spec', 'unavailable'],
  })
  async submit(
    @Req() request: Request,
    @Res({ passthrough: true }) response: Response,
  ): Promise<Pick<JobView, 'id' | 'state' | 'spec'>> {
    const key = idempotencyKey(request.get('idempotency-key'));
    const { job, created } = await this.jobs.submit(jsonBody(request), key);
    response.status(created ? 201 : 200).location(`/api/v1/jobs/${encodeURIComponent(job.id)}`);
    return { id: job.id, state: job.state, spec: job.spec };
  }

  @Get()
  @Operation({
    summary: 'List jobs, newest first',
    access: 'viewer',
    answers: { 200: { description: 'A page', body: 'JobPage' } },
    problems: ['invalid-request'],
  })
  list(@Query({ schema: listQuery }) { state, limit, cursor }: ListQuery): {
    jobs: JobView[];
    nextCursor: string | null;
  } {
    return this.jobs.list({
      limit,
      ...(state === undefined ? {} : { state }),
      ...(cursor === undefined ? {} : { cursor }),
    });
  }

  @Get(':id')
  @Operation({
    summary: 'Show a job',
    access: 'viewer',
    answers: { 200: { description: 'The job', body: 'Job' } },
    problems: ['not-found'],
  })
  show(@Param('id') id: string): JobView {
    return this.jobs.get(id);
  }

  @Post(':id/pause')
  @HttpCode(202)
  @Operation({
    summary: 'Pause: the open step is abandoned, which determinism makes free',
    access: 'operator',
    answers: { 202: { description: 'Will be done', body: 'Job' } },
    problems: ['not-found', 'conflict'],
  })
  pause(@Param('id') id: string): Promise<JobView> {
    return this.jobs.act(id, 'pause');
  }

  @Post(':id/resume')
  @HttpCode(202)
  @Operation({
    summary: 'Go on with a paused job',
    access: 'operator',
    answers: { 202: { description: 'Will be done', body: 'Job' } },
    problems: ['invalid-request', 'not-found', 'conflict'],
  })
  resume(@Param('id') id: string, @Query({ schema: resumeQuery }) { repin }: ResumeQuery): Promise<JobView> {
    return this.jobs.act(id, 'resume', { repin: repin === 'true' });
  }

  @Post(':id/cancel')
  @HttpCode(202)
  @Operation({
    summary: 'End a job for good',
    access: 'operator',
    answers: { 202: { description: 'Will be done', body: 'Job' } },
    problems: ['not-found', 'conflict'],
  })
  cancel(@Param('id') id: string): Promise<JobView> {
    return this.jobs.act(id, 'cancel');
  }

  @Post(':id/checkpoint')
  @HttpCode(202)
  @Operation({
    summary: 'Write a checkpoint after the present step',
    access: 'operator',
    answers: { 202: { description: 'Will be done', body: 'Job' } },
    problems: ['not-found', 'conflict'],
  })
  checkpoint(@Param('id') id: string): Promise<JobView> {
    return this.jobs.act(id, 'checkpoint');
  }

  @Delete(':id')
  @HttpCode(204)
  @Operation({
    summary: 'Delete an ended job and its files',
    access: 'admin',
    answers: { 204: { description: 'Gone' } },
    problems: ['not-found', 'conflict'],
  })
  async remove(@Param('id') id: string): Promise<void> {
    await this.jobs.remove(id);
  }
}
