// Says plainly that what is shown is no longer live, and since when.
import { tokenWanted } from '../state/api.js';
import { formatInstant } from '../state/format.js';
import { retryNow } from '../state/live.js';
import { loaded, streamStatus } from '../state/store.js';

export function ConnectionBanner() {
  const status = streamStatus.value;
  // While a token is asked for, that is the cause and the remedy.
  const shown = status.kind === 'disconnected' && tokenWanted.value === null;
  return (
    <div role="status" aria-live="polite">
      {shown && (
        <div class="banner" data-testid="disconnected-banner">
          <p>
            <strong>No connection to the coordinator.</strong>{' '}
            {loaded.value
              ? `What you see is the state of ${formatInstant(new Date(status.since).toISOString())}.`
              : 'Is it running? Start it with npx lockstep up.'}{' '}
            Trying again by itself.
          </p>
          <button type="button" class="button" onClick={retryNow}>
            Try now
          </button>
        </div>
      )}
    </div>
  );
}
