// Whether the process lives and whether it can do its work.
// Refuses to wait: a check that does not answer counts as a problem.
import { Controller, Get, Inject } from '@nestjs/common';
import type { OnModuleDestroy } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { READINESS_PORT } from '../jobs/ports.js';
import type { ReadinessPort } from '../jobs/ports.js';
import { Operation } from './operation.js';
import { HttpProblem } from './problems.js';

const READINESS_TIMEOUT_MS = 2_000;

@ApiTags('health')
@Controller('health')
export class HealthController implements OnModuleDestroy {
  private stopping = false;

  constructor(@Inject(READINESS_PORT) private readonly readiness: ReadinessPort) {}

  onModuleDestroy(): void {
    this.stopping = true;
  }

  @Get('live')
  @Operation({
    summary: 'The process answers',
    access: 'open',
    answers: { 200: { description: 'It does', body: 'Health' } },
  })
  live(): { status: string } {
    return { status: 'live' };
  }

  @Get('ready')
  @Operation({
    summary: 'Jobs can be submitted and trained',
    access: 'open',
    answers: { 200: { description: 'They can', body: 'Health' } },
    problems: ['unavailable'],
  })
  async ready(): Promise<{ status: string }> {
    const problems = this.stopping ? ['The coordinator is stopping.'] : await this.problemsInTime();
    if (problems.length > 0) throw new HttpProblem('unavailable', problems.join(' '));
    return { status: 'ready' };
  }

  private async problemsInTime(): Promise<string[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string[]>((resolve) => {
      const message = `The readiness check did not answer within ${READINESS_TIMEOUT_MS / 1000} s.`;
      timer = setTimeout(() => resolve([message]), READINESS_TIMEOUT_MS);
    });
    try {
      return await Promise.race([this.readiness.problems(), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
