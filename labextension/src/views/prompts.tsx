import type { TranslationBundle } from '@jupyterlab/translation';
import { type ReactElement, useId, useState } from 'react';

import type { IPlatform } from '../tokens';
import type { IPrompt } from '../wireShelves';
import { useAsked } from './parts';

interface IProps {
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
  /** Writes a cell into the notebook in front; null where there is none. */
  readonly insert: ((source: string) => void) | null;
}

/** The prompts that fit what is looked for, in the order of the list: each word in the name, a label or the description. */
export function matching(prompts: readonly IPrompt[], wanted: string): readonly IPrompt[] {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  return prompts.filter(prompt => {
    const all = [prompt.name, prompt.description, ...prompt.labels.map(([label]) => label)].join(' ').toLowerCase();
    return words.every(word => all.includes(word));
  });
}

function Preview({ reference, model, trans, insert }: IProps & { reference: string }): ReactElement {
  const { value: prompt, problem } = useAsked(() => model.prompt(reference), reference);
  if (problem) {
    return (
      <p className="aiplat-Problem" role="alert">
        {problem}
      </p>
    );
  }
  if (!prompt) {
    return <p className="aiplat-note">{trans.__('Reading the prompt…')}</p>;
  }
  return (
    <div className="aiplat-Prompt-preview">
      {prompt.description && <p>{prompt.description}</p>}
      {prompt.messages.map((message, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the messages of a prompt never change their order
        <pre key={index} data-role={message.role} dir="auto">
          {message.content}
        </pre>
      ))}
      <button
        type="button"
        className="aiplat-Button"
        disabled={!insert}
        title={insert ? '' : trans.__('Open a notebook first')}
        onClick={() => insert?.(prompt.cell)}
      >
        {trans.__('Insert as a cell')}
      </button>
    </div>
  );
}

/** The library: search, look at one, write a cell that asks it. */
export function Prompts(props: IProps): ReactElement {
  const { model, trans } = props;
  const { value, problem } = useAsked(() => model.prompts(), '');
  const [wanted, setWanted] = useState('');
  const [chosen, setChosen] = useState('');
  const id = useId();
  const found = matching(value ?? [], wanted);
  return (
    <>
      <input
        type="search"
        className="aiplat-Input"
        value={wanted}
        placeholder={trans.__('Search prompts')}
        aria-label={trans.__('Search prompts')}
        onChange={event => setWanted(event.target.value)}
      />
      {problem && (
        <p className="aiplat-Problem" role="alert">
          {problem}
        </p>
      )}
      <p className="aiplat-hidden" role="status">
        {value && trans._n('%1 prompt', '%1 prompts', found.length)}
      </p>
      {value && !found.length && <p className="aiplat-note">{trans.__('No prompt fits.')}</p>}
      <ul className="aiplat-list aiplat-Prompts">
        {found.map(prompt => (
          <li key={prompt.name}>
            <button
              type="button"
              className="aiplat-Prompt"
              aria-expanded={chosen === prompt.name}
              aria-controls={`${id}-${prompt.name}`}
              onClick={() => setChosen(chosen === prompt.name ? '' : prompt.name)}
            >
              <span className="aiplat-Prompt-name">{prompt.name}</span>
              <span className="aiplat-note">
                {prompt.shipped ? trans.__('library') : prompt.version}
                {prompt.labels.map(([label, version]) => (
                  <span key={label} className="aiplat-Tag" title={version}>
                    {label}
                  </span>
                ))}
              </span>
            </button>
            <div id={`${id}-${prompt.name}`} hidden={chosen !== prompt.name}>
              {chosen === prompt.name && <Preview {...props} reference={prompt.name} />}
            </div>
          </li>
        ))}
      </ul>
    </>
  );
}
