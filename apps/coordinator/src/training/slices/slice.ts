// The state of one slice: its jobs, the versions that can be pulled, and the pushes under way. Carries out the main
// thread's commands. Refuses to know gRPC; `push-call.ts` and `pull-call.ts` bring calls here.
import { VectorMemory } from '#model/simd/vector-memory.js';
import { hostClockMs } from '#proto/host-clock.js';
import type { Span } from '#proto/span-ring.js';
import { JobSlice } from './job-slice.js';
import type { OpenStep, SliceAnswer, SliceCommand, SliceOptions, SliceReport } from './messages.js';
import { PublishedVersions } from './published-versions.js';
import type { Push } from './push-call.js';

/** Spans that wait for the step's end; evaluations have none, and must not fill the memory. */
const mostSpans = 4096;

export interface JobOnSlice {
  readonly slice: JobSlice;
  readonly versions: PublishedVersions;
  step: OpenStep | undefined;
}

export class Slice {
  readonly options: SliceOptions;
  readonly report: (report: SliceReport) => void;
  readonly #jobs = new Map<string, JobOnSlice>();
  readonly #pushes = new Map<number, Push>();
  #pushCount = 0;
  #spans: Span[] = [];

  constructor(options: SliceOptions, report: (report: SliceReport) => void) {
    this.options = options;
    this.report = report;
  }

  job(jobId: string): JobOnSlice | undefined {
    return this.#jobs.get(jobId);
  }

  /** Numbers a push and keeps it until `forget`. */
  register(push: Push): number {
    this.#pushCount += 1;
    this.#pushes.set(this.#pushCount, push);
    return this.#pushCount;
  }

  /** Notes what was done from `startMs` to now for the timeline; `row` says by which part of the slice. */
  note(row: string, name: string, about: Pick<Span, 'jobId' | 'step' | 'task'>, startMs: number): void {
    if (this.#spans.length >= mostSpans) this.#spans.shift();
    const { jobId, step, task } = about;
    this.#spans.push({
      jobId,
      step,
      task,
      row: `slice ${this.options.slice} ${row}`,
      name,
      startMs,
      endMs: hostClockMs(),
    });
  }

  forget(pushId: number): void {
    this.#pushes.delete(pushId);
  }

  /** Carries out a command; answers go out as reports. */
  handle(command: Exclude<SliceCommand, { type: 'stop' }>): void {
    switch (command.type) {
      case 'open-job': {
        const { slice, slices, sharedFolder } = this.options;
        const { jobId } = command.job;
        this.#jobs.set(jobId, {
          slice: new JobSlice(command.job, slice, slices, new VectorMemory(command.memory), sharedFolder),
          versions: new PublishedVersions(jobId),
          step: undefined,
        });
        return;
      }
      case 'close-job':
        this.#jobs.get(command.jobId)?.versions.close();
        this.#jobs.get(command.jobId)?.slice.close();
        this.#jobs.delete(command.jobId);
        return;
      case 'add-buffer':
        this.#known(command.jobId).slice.addBuffer(command.buffer, command.state);
        return;
      case 'publish':
        this.#known(command.version.jobId).versions.publish(command.version);
        return;
      case 'open-step': {
        const job = this.#known(command.step.jobId);
        job.step = command.step;
        job.slice.openStep(command.step.tasks);
        return;
      }
      case 'close-step': {
        const job = this.#known(command.jobId);
        job.step = undefined;
        job.slice.closeStep();
        if (this.#spans.length > 0) this.report({ type: 'spans', spans: this.#spans });
        this.#spans = [];
        return;
      }
      case 'admit':
        this.#pushes.get(command.pushId)?.admit();
        return;
      case 'accept':
        this.#pushes.get(command.pushId)?.accept();
        return;
      case 'refuse':
        this.#pushes.get(command.pushId)?.refuse(command.outcome, command.detail);
        return;
      case 'checksum':
        this.#answer(command.request, () => ({
          values: this.#known(command.jobId).slice.checksums(command.buffer),
          finite: true,
        }));
        return;
      case 'summarise':
        this.#answer(command.request, () => {
          const job = this.#known(command.jobId);
          return this.#noting('norms', job, () => job.slice.summarise());
        });
        return;
      case 'apply': {
        const { update } = command;
        this.#answer(command.request, () => {
          const job = this.#known(update.jobId);
          job.versions.overwrite(update.toBuffer);
          return this.#noting('update', job, () => job.slice.apply(update));
        });
      }
    }
  }

  #answer(request: number, work: () => SliceAnswer): void {
    try {
      this.report({ type: 'answer', request, ...work() });
    } catch (error) {
      this.report({ type: 'failed', request, problem: error instanceof Error ? error.message : String(error) });
    }
  }

  /** Work on the open step's sum. */
  #noting<T>(name: string, { slice, step }: JobOnSlice, work: () => T): T {
    const start = hostClockMs();
    const result = work();
    if (step !== undefined) this.note('reduce', name, { jobId: slice.job.jobId, step: step.step }, start);
    return result;
  }

  #known(jobId: string): JobOnSlice {
    const job = this.#jobs.get(jobId);
    if (job === undefined) throw new Error(`Slice ${this.options.slice} does not know job ${jobId}.`);
    return job;
  }
}
