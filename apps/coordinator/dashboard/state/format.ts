// How numbers are written on the dashboard, with units.
// Refuses to know where they come from.

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const NOTHING = '–';

export function formatCount(value: number | null | undefined): string {
  return isNumber(value) ? whole.format(value) : NOTHING;
}

/** @param share in [0, 1]. */
export function formatPercent(share: number | null | undefined): string {
  return isNumber(share) ? `${oneDigit.format(share * 100)} %` : NOTHING;
}

/** Three to four significant digits, so that columns of losses line up: 2.303, 0.0512, 1.2e-7. */
export function formatLoss(value: number | null | undefined): string {
  if (!isNumber(value)) {
    return NOTHING;
  }
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100_000)) {
    return value.toExponential(1);
  }
  return value.toFixed(size >= 100 ? 1 : size >= 1 ? 3 : 4);
}

/** Per second. */
export function formatRate(value: number | null | undefined): string {
  return isNumber(value) ? (value > 0 && value < 10 ? oneDigit : whole).format(value) : NOTHING;
}

/** A learning rate or the like, without trailing zeros. */
export function formatPlain(value: number | null | undefined): string {
  if (!isNumber(value)) {
    return NOTHING;
  }
  return Math.abs(value) < 1000 ? String(Number(value.toPrecision(4))) : whole.format(value);
}

/** A time that a step or task took: 184 ms, 2.41 s. */
export function formatShortTime(seconds: number | null | undefined): string {
  if (!isNumber(seconds)) {
    return NOTHING;
  }
  return seconds < 0.9995 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(2)} s`;
}

/** Round shares on an axis: 60 %, 62.5 %. */
export function formatTickPercent(share: number): string {
  return `${formatPlain(share * 100)} %`;
}

/** Round times on an axis: 0, 50 ms, 1.5 s. */
export function formatTickTime(seconds: number): string {
  if (seconds === 0) {
    return '0';
  }
  return Math.abs(seconds) < 1 ? `${formatPlain(seconds * 1000)} ms` : `${formatPlain(seconds)} s`;
}

/** A stretch of time in its two largest units: 42 s, 3 min 05 s, 2 h 10 min, 4 d 3 h. */
export function formatDuration(seconds: number | null | undefined): string {
  if (!isNumber(seconds)) {
    return NOTHING;
  }
  const total = Math.max(0, Math.round(seconds));
  if (total < 60) {
    return `${total} s`;
  }
  const minutes = Math.floor(total / 60);
  if (minutes < 60) {
    return `${minutes} min ${twoDigits(total % 60)} s`;
  }
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h ${twoDigits(minutes % 60)} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function formatBytes(bytes: number | null | undefined): string {
  if (!isNumber(bytes)) {
    return NOTHING;
  }
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const scaled = bytes / 1000 ** power;
  return `${power === 0 || scaled >= 100 ? whole.format(scaled) : oneDigit.format(scaled)} ${units[power]}`;
}

/** The pieces of a list of names between which a line may be broken: after commas that no blank follows. */
export function wordsOf(text: string): string[] {
  return text.split(/(?<=,)(?! )/);
}

/** Large counts in words' place: 272,474 stays, 60192808 is 60.2 M. */
export function formatParameters(count: number): string {
  return count >= 1_000_000 ? `${oneDigit.format(count / 1e6)} M` : whole.format(count);
}

/** Local date and time of an ISO 8601 instant. */
export function formatInstant(iso: string | null): string {
  const at = new Date(iso ?? NaN);
  return Number.isNaN(at.getTime()) ? NOTHING : at.toLocaleString([], { dateStyle: 'medium', timeStyle: 'medium' });
}

function isNumber(value: number | null | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}
