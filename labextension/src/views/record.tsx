import type { TranslationBundle } from '@jupyterlab/translation';
import { type ReactElement, useState } from 'react';

import { count, seconds } from '../figures';
import type { IPlatform } from '../tokens';
import type { ICall } from '../wire';
import { StatusMark, statusWord } from './parts';

interface IProps {
  readonly call: ICall;
  readonly model: IPlatform;
  readonly trans: TranslationBundle;
  readonly copy: (text: string) => void;
}

type Group = readonly [title: string, columns: readonly string[]];

function groups(trans: TranslationBundle): readonly Group[] {
  return [
    [
      trans.__('Who and where'),
      ['team', 'project', 'cost_centre', 'user_id', 'key_id', 'surface', 'notebook', 'cell_id', 'tags']
    ],
    [
      trans.__('Model'),
      ['operation', 'request_model', 'provider', 'response_model', 'region', 'finish_reason', 'stream', 'flags']
    ],
    [trans.__('Prompt'), ['prompt_name', 'prompt_version', 'experiment', 'variant']],
    [trans.__('Outcome'), ['status', 'error_type', 'error_message', 'policy', 'attempts', 'cache', 'parent_id']],
    [
      trans.__('Tokens'),
      ['input_tokens', 'cache_read_tokens', 'cache_write_tokens', 'output_tokens', 'reasoning_tokens']
    ],
    [
      trans.__('Cost'),
      [
        'cost_usd',
        'baseline_cost_usd',
        'price_version',
        'input_usd_per_mtok',
        'output_usd_per_mtok',
        'cache_read_usd_per_mtok',
        'cache_write_usd_per_mtok',
        'reasoning_usd_per_mtok'
      ]
    ],
    [trans.__('Time'), ['started_at', 'ended_at', 'latency_s', 'time_to_first_token_s', 'queued_s']],
    [trans.__('Evidence'), ['call_id', 'seq', 'request_hash', 'response_hash', 'prev_hash', 'hash']]
  ];
}

/** The columns in their groups, those without a value left out, and what no group names at the end. */
function grouped(call: ICall, trans: TranslationBundle): readonly Group[] {
  const known = groups(trans);
  const named = new Set(known.flatMap(([, columns]) => columns));
  const rest = [...call.columns.keys()].filter(name => !named.has(name));
  return [...known, [trans.__('Other'), rest] as const]
    .map(([title, columns]) => [title, columns.filter(name => call.columns.get(name))] as const)
    .filter(([, columns]) => columns.length > 0);
}

function Copy(props: { label: string; done: string; text: string; copy: (text: string) => void }): ReactElement {
  const [copied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="aiplat-Button"
      onClick={() => {
        props.copy(props.text);
        setCopied(true);
      }}
      onBlur={() => setCopied(false)}
    >
      {copied ? props.done : props.label}
    </button>
  );
}

function Block(props: { title: string; kind?: string; text: string; note?: string }): ReactElement {
  return (
    <section className="aiplat-Block" data-kind={props.kind}>
      <h3>{props.title}</h3>
      {props.text ? <pre>{props.text}</pre> : <p className="aiplat-note">{props.note}</p>}
    </section>
  );
}

function Summary({ call, model, trans }: Omit<IProps, 'copy'>): ReactElement {
  const { row } = call;
  const facts: readonly (readonly [string, string])[] = [
    [trans.__('Cost'), model.money(row.costUsd)],
    [trans.__('Tokens in'), row.inputTokens === null ? trans.__('unknown') : count(row.inputTokens)],
    [trans.__('Tokens out'), row.outputTokens === null ? trans.__('unknown') : count(row.outputTokens)],
    [trans.__('Time'), seconds(row.latencyS, trans.__('unknown'))],
    [trans.__('Cache'), row.cache || trans.__('off')]
  ];
  return (
    <dl className="aiplat-Summary">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function roleWord(role: string, trans: TranslationBundle): string {
  switch (role) {
    case 'system':
      return trans.__('System');
    case 'user':
      return trans.__('User');
    case 'assistant':
      return trans.__('Assistant');
    case 'tool':
      return trans.__('Tool');
    case 'input':
      return trans.__('Input');
    default:
      return role;
  }
}

/** Everything that the ledger holds of one call. */
export function RecordView({ call, model, trans, copy }: IProps): ReactElement {
  const word = statusWord(call.row.status, trans);
  const reason = call.columns.get('error_message') ?? '';
  return (
    <article className="aiplat-Record">
      <header className="aiplat-Record-head">
        <div>
          <h2>
            <StatusMark status={call.row.status} word={word} /> {call.row.model || trans.__('AI call')}
          </h2>
          <code>{call.row.callId}</code>
        </div>
        <Copy label={trans.__('Copy call id')} done={trans.__('Copied')} text={call.row.callId} copy={copy} />
      </header>
      {reason && (
        <p className="aiplat-Problem" data-status={call.row.status}>
          <strong>{call.row.errorType || word}</strong> {reason}
        </p>
      )}
      <Summary call={call} model={model} trans={trans} />
      {call.erased && (
        <p className="aiplat-note">{trans.__('The texts of this call were erased; its record stands.')}</p>
      )}
      {call.messages.map((message, index) => (
        <Block
          // biome-ignore lint/suspicious/noArrayIndexKey: the messages of a call never change their order
          key={index}
          title={roleWord(message.role, trans)}
          kind={message.role}
          text={message.content}
          note={trans.__('Empty message.')}
        />
      ))}
      {!call.erased && (
        <Block title={trans.__('Answer')} kind="answer" text={call.text} note={trans.__('No text was answered.')} />
      )}
      {call.settings && <Block title={trans.__('Settings')} text={call.settings} />}
      <div className="aiplat-Columns">
        {grouped(call, trans).map(([title, columns]) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {columns.map(name => (
                <div key={name}>
                  <dt>{name}</dt>
                  <dd>{call.columns.get(name)}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </article>
  );
}
