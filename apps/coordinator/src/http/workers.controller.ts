// REST for workers: list, drain.
// Refuses to know how workers are reached: the port does.
import { Controller, Get, HttpCode, Inject, Param, Post } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { WORKERS_PORT } from '../jobs/ports.js';
import type { WorkersPort, WorkerView } from '../jobs/ports.js';
import { Operation } from './operation.js';

@ApiTags('workers')
@Controller('api/v1/workers')
export class WorkersController {
  constructor(@Inject(WORKERS_PORT) private readonly workers: WorkersPort) {}

  @Get()
  @Operation({
    summary: 'List the workers that are connected',
    access: 'viewer',
    answers: { 200: { description: 'All of them', body: 'WorkerList' } },
  })
  list(): { workers: WorkerView[] } {
    return { workers: this.workers.list() };
  }

  @Post(':id/drain')
  @HttpCode(202)
  @Operation({
    summary: 'Let a worker finish its task and give it no other',
    access: 'operator',
    answers: { 202: { description: 'Will be done', body: 'Worker' } },
    problems: ['not-found'],
  })
  drain(@Param('id') id: string): WorkerView {
    return this.workers.drain(id);
  }
}
