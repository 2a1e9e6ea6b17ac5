// Asks for an API token where the coordinator wants one.
import { useEffect, useRef } from 'preact/hooks';
import { giveToken, tokenWanted } from '../state/api.js';

export function TokenPrompt() {
  const wanted = tokenWanted.value;
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (wanted !== null && dialog.current?.open === false) {
      dialog.current.showModal();
    } else if (wanted === null) {
      dialog.current?.close();
    }
  }, [wanted]);
  return (
    <dialog
      ref={dialog}
      class="dialog"
      aria-labelledby="token-title"
      data-testid="token-prompt"
      onCancel={(event) => event.preventDefault()}
    >
      <form onSubmit={submit}>
        <h2 id="token-title">Token needed</h2>
        <p>
          This coordinator asks for a token: one of those in its <code>LOCKSTEP_API_TOKENS</code>. It is kept for this
          tab only.
        </p>
        <label for="token-field">Token</label>
        <input
          id="token-field"
          name="token"
          type="password"
          autocomplete="current-password"
          required
          data-testid="token-field"
          aria-describedby="token-problem"
        />
        <p id="token-problem" class="problem" role="alert" data-testid="token-problem">
          {wanted === 'wrong' && 'That token was not accepted.'}
        </p>
        <div class="dialog-buttons">
          <button type="submit" class="button button--strong" data-testid="token-submit">
            Connect
          </button>
        </div>
      </form>
    </dialog>
  );
}

function submit(event: SubmitEvent): void {
  event.preventDefault();
  const form = event.currentTarget as HTMLFormElement;
  const value = new FormData(form).get('token');
  if (typeof value === 'string' && value.trim() !== '') {
    form.reset();
    giveToken(value.trim());
  }
}
