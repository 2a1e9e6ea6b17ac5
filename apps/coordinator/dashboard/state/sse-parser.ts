// Cuts a stream of text into server-sent events (HTML standard, section 9.2.6).
// Refuses to know where the text comes from and what the events mean.

export interface ServerSentEvent {
  readonly type: string;
  readonly data: string;
  /** The newest id that the stream has given so far. */
  readonly lastEventId: string;
}

/** Feed it decoded text in pieces of any size; it returns the events that each piece completes. */
export class SseParser {
  private rest = '';
  private type = '';
  private data: string[] = [];
  private lastEventId: string;
  private afterCarriageReturn = false;

  constructor(lastEventId = '') {
    this.lastEventId = lastEventId;
  }

  push(text: string): ServerSentEvent[] {
    const events: ServerSentEvent[] = [];
    // A carriage return at a piece's end may be half of a line end.
    const fresh = this.afterCarriageReturn && text.startsWith('\n') ? text.slice(1) : text;
    if (text !== '') {
      this.afterCarriageReturn = text.endsWith('\r');
    }
    const lines = (this.rest + fresh).split(/\r\n|\n|\r/);
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = this.line(line);
      if (event !== undefined) {
        events.push(event);
      }
    }
    return events;
  }

  private line(line: string): ServerSentEvent | undefined {
    if (line === '') {
      const data = this.data.join('\n');
      const complete = this.data.length > 0;
      const type = this.type === '' ? 'message' : this.type;
      this.type = '';
      this.data = [];
      return complete ? { type, data, lastEventId: this.lastEventId } : undefined;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'event') {
      this.type = value;
    } else if (field === 'data') {
      this.data.push(value);
    } else if (field === 'id' && !value.includes('\0')) {
      this.lastEventId = value;
    }
    return undefined;
  }
}
