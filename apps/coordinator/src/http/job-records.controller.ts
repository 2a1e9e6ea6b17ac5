// REST for what a job leaves behind: metrics, ledger, audit, checkpoints.
// Refuses to hold a ledger or a file in memory: both are streamed at the pace of the reader.
import { Controller, Get, Inject, Param, Query, Req, Res } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { Request, Response } from 'express';
import { JOBS_PORT } from '../jobs/ports.js';
import type { AuditReport, CheckpointView, JobsPort, SeriesPoints } from '../jobs/ports.js';
import type { ChromeTrace } from '../telemetry/chrome-trace.js';
import { sendFile } from './file-response.js';
import { sendLines } from './line-response.js';
import { Operation } from './operation.js';
import { HttpProblem } from './problems.js';
import { ledgerQuery, metricsQuery, stepNumber, timelineQuery } from './requests.js';
import type { LedgerQuery, MetricsQuery, TimelineQuery } from './requests.js';

@ApiTags('jobs')
@Controller('api/v1/jobs/:id')
export class JobRecordsController {
  constructor(@Inject(JOBS_PORT) private readonly jobs: JobsPort) {}

  @Get('metrics')
  @Operation({
    summary: 'Curves, down-sampled so that extremes stay visible',
    access: 'viewer',
    answers: { 200: { description: 'Points by series', body: 'Metrics' } },
    problems: ['invalid-request', 'not-found'],
  })
  async metrics(
    @Param('id') id: string,
    @Query({ schema: metricsQuery }) { series, maxPoints }: MetricsQuery,
  ): Promise<{ series: Record<string, SeriesPoints> }> {
    const names = series
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
    return { series: await this.jobs.metrics(id, names, maxPoints) };
  }

  @Get('ledger')
  @Operation({
    summary: 'The ledger, a JSON object per line and committed step',
    access: 'viewer',
    answers: { 200: { description: 'Entries in order of steps', mediaType: 'application/x-ndjson' } },
    problems: ['invalid-request', 'not-found'],
  })
  async ledger(
    @Param('id') id: string,
    @Query({ schema: ledgerQuery }) { from, to }: LedgerQuery,
    @Req() request: Request,
    @Res() response: Response,
  ): Promise<void> {
    refuseEmptyRange(from, to);
    await sendLines(request, response, this.jobs.ledger(id, from, to));
  }

  @Get('audit')
  @Operation({
    summary: 'Prove from the ledger that each sample was counted exactly once',
    access: 'viewer',
    answers: { 200: { description: 'What the ledger says', body: 'Audit' } },
    problems: ['not-found'],
  })
  audit(@Param('id') id: string): Promise<AuditReport> {
    return this.jobs.audit(id);
  }

  @Get('timeline')
  @Operation({
    summary: 'What coordinator and workers did when, for some steps',
    description:
      'A trace in the Trace Event Format, for Perfetto and chrome://tracing. Each process keeps its newest spans in memory; ' +
      'what is missing is said in `otherData.notes`. Steps count from 0, as in the ledger.',
    access: 'viewer',
    answers: { 200: { description: 'The trace', body: 'Timeline' } },
    problems: ['invalid-request', 'not-found'],
  })
  async timeline(
    @Param('id') id: string,
    @Query({ schema: timelineQuery }) { from, to }: TimelineQuery,
  ): Promise<ChromeTrace> {
    refuseEmptyRange(from, to);
    return this.jobs.timeline(id, from, to);
  }

  @Get('checkpoints')
  @Operation({
    summary: 'List checkpoints',
    access: 'viewer',
    answers: { 200: { description: 'In order of steps', body: 'CheckpointList' } },
    problems: ['not-found'],
  })
  async checkpoints(@Param('id') id: string): Promise<{ checkpoints: CheckpointView[] }> {
    return { checkpoints: await this.jobs.checkpoints(id) };
  }

  @Get('checkpoints/:step/files/:name')
  @Operation({
    summary: 'Download a file of a checkpoint',
    description: 'Ranges and conditional requests (ETag) are understood.',
    access: 'viewer',
    answers: {
      200: { description: 'The file', mediaType: 'application/octet-stream' },
      206: { description: 'The range that was asked for', mediaType: 'application/octet-stream' },
      304: { description: 'Not changed' },
    },
    problems: ['not-found', 'range-not-satisfiable'],
  })
  async file(
    @Param('id') id: string,
    @Param('step') step: string,
    @Param('name') name: string,
    @Res() response: Response,
  ): Promise<void> {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
      throw new HttpProblem('not-found', 'A checkpoint has no such file.');
    const path = await this.jobs.checkpointFile(id, stepNumber(step), name);
    response.attachment(`${id}-step-${step}-${name}`);
    await sendFile(response, path);
  }
}

function refuseEmptyRange(from: number | undefined, to: number | undefined): void {
  if (from === undefined || to === undefined || from <= to) return;
  const errors = [{ path: 'to', message: 'must not lie before from' }];
  throw new HttpProblem('invalid-request', 'The range is empty.', { errors });
}
