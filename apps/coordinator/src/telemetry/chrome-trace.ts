// The timeline of some steps in the Trace Event Format, which Perfetto and chrome://tracing open. Pure.
// Refuses to know where the spans came from.
import type { Span } from '#proto/span-ring.js';

/** What one process did; times of the coordinator's clock, milliseconds. */
export interface ProcessSpans {
  readonly name: string;
  readonly spans: readonly Span[];
}

/** An event of the format that is used here: a complete one (X), or the name (M) of a process or row; times in µs. */
export interface TraceEvent {
  readonly ph: 'X' | 'M';
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string | undefined;
  readonly ts?: number | undefined;
  readonly dur?: number | undefined;
  readonly args: Readonly<Record<string, unknown>>;
}

export interface ChromeTrace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
  readonly otherData: TraceFacts;
}

export interface TraceFacts {
  readonly jobId: string;
  readonly fromStep: number;
  readonly toStep: number;
  /** What is missing and how exact clocks are, a sentence each. */
  readonly notes: readonly string[];
}

/** From top to bottom; a row of another name comes after them. */
const rowOrder = ['trainer', 'checkpoint', 'evaluation', 'images', 'parameters', 'compute', 'send'];

/** Processes in the order given; rows in the order in which a step passes through them. */
export function chromeTrace(processes: readonly ProcessSpans[], facts: TraceFacts): ChromeTrace {
  const starts = processes.flatMap(({ spans }) => spans.map(({ startMs }) => startMs));
  const origin = starts.reduce((least, start) => Math.min(least, start), Infinity);
  const traceEvents = processes.flatMap(({ name, spans }, index) => {
    const pid = index + 1;
    const lanes = lanesOf(spans);
    const named = { ph: 'M', pid, tid: 0 } as const;
    return [
      { ...named, name: 'process_name', args: { name } },
      { ...named, name: 'process_sort_index', args: { sort_index: pid } },
      ...lanes.flatMap((lane, at) => laneEvents(lane, pid, at + 1, origin)),
    ];
  });
  return { displayTimeUnit: 'ms', traceEvents, otherData: facts };
}

interface Lane {
  readonly name: string;
  readonly spans: Span[];
}

function laneEvents({ name, spans }: Lane, pid: number, tid: number, origin: number): TraceEvent[] {
  const microseconds = (ms: number): number => Math.round(ms * 1000);
  return [
    { ph: 'M', pid, tid, name: 'thread_name', args: { name } },
    { ph: 'M', pid, tid, name: 'thread_sort_index', args: { sort_index: tid } },
    ...spans.map((span): TraceEvent => {
      const ts = microseconds(span.startMs - origin);
      const args = { step: span.step, ...(span.task === undefined ? {} : { task: span.task }) };
      const dur = microseconds(span.endMs - origin) - ts;
      return { ph: 'X', pid, tid, name: span.name, cat: span.row, ts, dur, args };
    }),
  ];
}

/** The rows; one whose spans cross each other (a push that begins before the last has ended) takes several lines. */
function lanesOf(spans: readonly Span[]): Lane[] {
  const rows = new Map<string, Span[]>();
  for (const span of spans) {
    const row = rows.get(span.row);
    if (row === undefined) rows.set(span.row, [span]);
    else row.push(span);
  }
  const rank = (row: string): number => {
    const known = rowOrder.indexOf(row);
    return known < 0 ? rowOrder.length : known;
  };
  return [...rows]
    .toSorted(([one], [other]) => rank(one) - rank(other) || one.localeCompare(other))
    .flatMap(([row, own]) =>
      withoutCrossings(own).map((line, index) => ({ name: index === 0 ? row : `${row} (${index + 1})`, spans: line })),
    );
}

/** Each span goes to the first line where it lies beside all others, or within or around them. */
function withoutCrossings(spans: readonly Span[]): Span[][] {
  const lines: { readonly spans: Span[]; readonly open: number[] }[] = [];
  // Of two that begin at once the longer one is around the other.
  for (const span of spans.toSorted((a, b) => a.startMs - b.startMs || b.endMs - a.endMs)) {
    const fits = lines.find(({ open }) => {
      while (open.length > 0 && open.at(-1)! <= span.startMs) open.pop();
      return open.length === 0 || span.endMs <= open.at(-1)!;
    });
    const line = fits ?? { spans: [], open: [] };
    if (fits === undefined) lines.push(line);
    line.spans.push(span);
    line.open.push(span.endMs);
  }
  return lines.map((line) => line.spans);
}
