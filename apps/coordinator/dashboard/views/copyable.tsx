// A value in fixed-width type with a button that copies it.
import { useSignal } from '@preact/signals';

const SHOWN_MS = 1500;

interface Props {
  readonly text: string;
  /** Names it to screen readers: 'Copy <what>'. */
  readonly what: string;
  readonly block?: boolean;
  readonly testId?: string;
}

export function Copyable({ text, what, block = false, testId }: Props) {
  const state = useSignal<'idle' | 'copied' | 'failed'>('idle');
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      state.value = 'copied';
    } catch (error) {
      // Browsers refuse the clipboard on plain http beyond localhost; the text can still be selected.
      console.debug('Not copied:', error);
      state.value = 'failed';
    }
    setTimeout(() => {
      state.value = 'idle';
    }, SHOWN_MS);
  };
  const label = { idle: 'Copy', copied: 'Copied', failed: 'Select it' }[state.value];
  return (
    <span class={block ? 'copyable copyable--block' : 'copyable'}>
      <code title={text} data-testid={testId}>
        {text}
      </code>
      <button type="button" class="copy" aria-label={`${label} ${what}`} onClick={() => void copy()}>
        {label}
      </button>
    </span>
  );
}
