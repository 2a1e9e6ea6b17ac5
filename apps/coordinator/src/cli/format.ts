// Numbers as people read them: durations, shares, rates, counts, times of day.
// Refuses to know where they stand on the screen.

/** `null` and what is not finite become `–`. */
const NOTHING = '–';

function isNumber(value: number | null | undefined): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** 0.4 s · 12 s · 3 min 05 s · 2 h 07 min · 3 d 04 h */
export function formatDuration(seconds: number | null | undefined): string {
  if (!isNumber(seconds) || seconds < 0) {
    return NOTHING;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)} s`;
  }
  const whole = Math.round(seconds);
  if (whole < 60) {
    return `${whole} s`;
  }
  const pair = (large: number, largeUnit: string, small: number, smallUnit: string): string =>
    `${large} ${largeUnit} ${String(small).padStart(2, '0')} ${smallUnit}`;
  if (whole < 3600) {
    return pair(Math.floor(whole / 60), 'min', whole % 60, 's');
  }
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) {
    return pair(Math.floor(minutes / 60), 'h', minutes % 60, 'min');
  }
  const hours = Math.round(minutes / 60);
  return pair(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

/** A share in [0, 1] as `76.4 %`. */
export function formatShare(share: number | null | undefined): string {
  return isNumber(share) ? `${(share * 100).toFixed(1)} %` : NOTHING;
}

/** Loss: three digits after the point, or as a power of ten where that would hide it. */
export function formatLoss(loss: number | null | undefined): string {
  if (!isNumber(loss)) {
    return NOTHING;
  }
  return loss !== 0 && (Math.abs(loss) < 0.001 || Math.abs(loss) >= 1e5) ? loss.toExponential(2) : loss.toFixed(3);
}

/** Per second: whole numbers from 100 up, one digit below. */
export function formatRate(perSecond: number | null | undefined): string {
  if (!isNumber(perSecond)) {
    return NOTHING;
  }
  return perSecond >= 100 ? formatCount(Math.round(perSecond)) : perSecond.toFixed(1);
}

/** 60,192,808 */
export function formatCount(count: number | null | undefined): string {
  return isNumber(count) ? count.toLocaleString('en-US') : NOTHING;
}

/** An ISO time as local `2026-11-24 08:40`. */
export function formatTime(iso: string | null | undefined): string {
  const time = iso === null || iso === undefined ? Number.NaN : Date.parse(iso);
  if (Number.isNaN(time)) {
    return NOTHING;
  }
  const date = new Date(time);
  const two = (value: number): string => String(value).padStart(2, '0');
  return (
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}`
  );
}
