// The Nest module of the HTTP side, made of the ports that it is given.
// Refuses to make any port itself.
import type { DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import type { CoordinatorConfig } from '../config.js';
import { EVENT_HUB, JOBS_PORT, READINESS_PORT, WORKERS_PORT } from '../jobs/ports.js';
import type { JobsPort, ReadinessPort, WorkersPort } from '../jobs/ports.js';
import type { Logger } from '../log.js';
import type { EventHub } from '../telemetry/event-hub.js';
import { AccessGuard } from './access-guard.js';
import { AccessControl } from './access.js';
import { DashboardController } from './dashboard.controller.js';
import { DatasetsController } from './datasets.controller.js';
import { EVENT_STREAM_OPTIONS, eventStreamDefaults, EventStreams } from './event-streams.js';
import type { EventStreamOptions } from './event-streams.js';
import { EventsController } from './events.controller.js';
import { HealthController } from './health.controller.js';
import { JobRecordsController } from './job-records.controller.js';
import { JobsController } from './jobs.controller.js';
import { MetricsController } from './metrics.controller.js';
import { ProblemFilter } from './problem-filter.js';
import { requestValidation } from './requests.js';
import { CONFIG, DASHBOARD_DIR, LOGGER } from './tokens.js';
import { WorkersController } from './workers.controller.js';

/** What the HTTP side serves. */
export interface HttpPorts {
  readonly jobs: JobsPort;
  readonly workers: WorkersPort;
  readonly readiness: ReadinessPort;
  readonly events: EventHub;
  readonly logger: Logger;
  /** Of the package; the OpenAPI document says it. */
  readonly version: string;
  /** Where the built dashboard lies; it may be missing, then `/` says how to build it. */
  readonly dashboardDir: string;
  /** Middle-ware to mount under `/queues` for admins (Bull Board), where it is enabled. */
  readonly queueBoard?: RequestHandlerLike | undefined;
  /** @default 10 s heartbeats, 60 s until a stalled client is cut off, 256 streams */
  readonly eventStreams?: Partial<EventStreamOptions> | undefined;
}

/** An Express router or handler, without asking for Express' types. */
export type RequestHandlerLike = (request: never, response: never, next: (error?: unknown) => void) => void;

class HttpModule {}

export function httpModule(config: CoordinatorConfig, ports: HttpPorts): DynamicModule {
  return {
    module: HttpModule,
    // The dashboard's catch-all for top-level files comes last.
    controllers: [
      HealthController,
      MetricsController,
      JobsController,
      JobRecordsController,
      WorkersController,
      EventsController,
      DatasetsController,
      DashboardController,
    ],
    providers: [
      { provide: CONFIG, useValue: config },
      { provide: LOGGER, useValue: ports.logger },
      { provide: DASHBOARD_DIR, useValue: ports.dashboardDir },
      { provide: JOBS_PORT, useValue: ports.jobs },
      { provide: WORKERS_PORT, useValue: ports.workers },
      { provide: READINESS_PORT, useValue: ports.readiness },
      { provide: EVENT_HUB, useValue: ports.events },
      { provide: EVENT_STREAM_OPTIONS, useValue: { ...eventStreamDefaults, ...ports.eventStreams } },
      { provide: AccessControl, useValue: new AccessControl(config) },
      { provide: APP_FILTER, useClass: ProblemFilter },
      { provide: APP_GUARD, useClass: AccessGuard },
      { provide: APP_PIPE, useFactory: requestValidation },
      EventStreams,
    ],
  };
}
