import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Clipboard } from '@jupyterlab/apputils';
import { IRenderMimeRegistry, MimeModel, RenderedHTML, RenderedMarkdown } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { PanelLayout, Widget } from '@lumino/widgets';

import { blocks } from '../blocks';
import { CommandIDs } from '../commands';
import { count, money, seconds, shortId } from '../figures';
import { quietSanitizer } from '../safety';
import { statusWord } from '../views/parts';
import { type IAnswer, isCallId, parseAnswer, WireError } from '../wire';

/** Characters beyond which an answer is not laid out as Markdown, which would hold up the page for seconds. */
const LARGE = 200_000;

export const CALL_MIME = 'application/vnd.aiplat.call+json';

interface IActions {
  readonly open: (callId: string) => void;
  readonly copy: (text: string) => void;
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className: string,
  text = ''
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

/** A fence longer than any run of backticks in the text, so that the text cannot end it. */
export function fenced(text: string, language: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(run => run[0].length));
  const fence = '`'.repeat(longest + 1);
  return `${fence}${language}\n${text}\n${fence}`;
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** An answer in a cell's output: the text in its format, and one line about the call. */
class AnswerView extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly options: IRenderMime.IRendererOptions,
    private readonly trans: TranslationBundle,
    private readonly actions: IActions
  ) {
    super();
    this.addClass('aiplat-Answer');
    this.foot.addClass('aiplat-Answer-foot');
    this.foot.node.setAttribute('role', 'group');
    this.foot.node.dir = 'ltr';
    this.foot.node.setAttribute('aria-label', trans.__('About this call'));
    this.layout = new PanelLayout();
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    let answer: IAnswer;
    try {
      answer = parseAnswer(model.data[CALL_MIME]);
    } catch (error) {
      if (!(error instanceof WireError)) {
        throw error;
      }
      this.node.dataset.status = 'error';
      this.node.textContent = this.trans.__('This output is not a record of an AI call: %1.', error.message);
      return;
    }
    this.node.dataset.status = answer.status;
    this.node.dataset.format = answer.format;
    await this.renderBody(answer);
    this.foot.node.replaceChildren(...this.reason(answer), this.facts(answer));
    if (!this.foot.parent) {
      (this.layout as PanelLayout).addWidget(this.foot);
    }
  }

  /** The text, drawn by Jupyter's own renderers with their sanitiser; as plain text where it has no format. */
  private async renderBody(answer: IAnswer): Promise<void> {
    const kind = kindOf(answer);
    if (kind !== this.kind) {
      this.body?.dispose();
      this.body = this.make(kind);
      this.kind = kind;
      if (this.body) {
        this.body.addClass('aiplat-Answer-body');
        this.body.node.dir = 'auto';
        (this.layout as PanelLayout).insertWidget(0, this.body);
      }
    }
    if (this.body instanceof RenderedMarkdown || this.body instanceof RenderedHTML) {
      const data = { [this.body.mimeType]: source(answer) };
      await this.body.renderModel(new MimeModel({ data, trusted: false }));
    } else if (this.body && kind === 'large') {
      this.body.node.replaceChildren(...blocks(answer.text).map(part => element('span', 'aiplat-Answer-block', part)));
    } else if (this.body) {
      this.body.node.textContent = answer.text;
    }
  }

  private make(kind: string): Widget | null {
    const sanitizer = quietSanitizer(this.options.sanitizer, address =>
      this.trans.__('[image not loaded: %1]', address)
    );
    const options = { ...this.options, sanitizer, trustHandler: null };
    switch (kind) {
      case 'none':
        return null;
      case 'html':
        return new RenderedHTML({ ...options, mimeType: 'text/html' });
      case 'markdown':
        return new RenderedMarkdown({ ...options, mimeType: 'text/markdown' });
      default:
        return new Widget({ node: document.createElement('pre') });
    }
  }

  /** Why there is no whole answer, as a sentence under what there is. */
  private reason(answer: IAnswer): HTMLElement[] {
    if (answer.status === 'ok' || answer.status === 'running') {
      return [];
    }
    const line = element('p', 'aiplat-Answer-reason');
    line.append(element('strong', '', statusWord(answer.status, this.trans)));
    const said = answer.error?.message ?? '';
    if (answer.status === 'cancelled' && !said) {
      line.append(` ${answer.text ? this.trans.__('The text so far is kept.') : this.trans.__('No text had come.')}`);
    } else {
      line.append(` ${said || (answer.error?.type ?? '')}`);
    }
    if (answer.error?.type) {
      line.title = answer.error.type;
    }
    return [line];
  }

  private facts(answer: IAnswer): HTMLElement {
    const trans = this.trans;
    const line = element('div', 'aiplat-Answer-facts');
    const add = (text: string, title = '') => {
      const item = element('span', 'aiplat-Answer-fact', text);
      item.title = title;
      line.append(item);
    };
    const answered = [answer.provider, answer.responseModel, answer.region].filter(Boolean).join(' · ');
    add(
      answer.model || answer.responseModel || trans.__('default model'),
      answered && trans.__('Answered by %1', answered)
    );
    if (answer.status === 'running') {
      line.append(element('span', 'aiplat-Answer-fact aiplat-Answer-running', trans.__('answering…')));
      return line;
    }
    if (answer.promptName) {
      add(`${answer.promptName}@${answer.promptVersion}`, trans.__('Prompt and version'));
    }
    if (answer.inputTokens !== null && answer.outputTokens !== null) {
      add(
        trans.__('%1 → %2 tokens', count(answer.inputTokens), count(answer.outputTokens)),
        trans.__('Tokens in and out')
      );
    }
    if (answer.costUsd !== null || answer.status === 'ok' || (answer.status !== 'refused' && answer.text)) {
      add(
        money(answer.costUsd, answer.currency, answer.usdRate, trans.__('cost unknown')),
        trans.__('What the call cost')
      );
    }
    if (answer.latencyS !== null) {
      add(seconds(answer.latencyS));
    }
    if (answer.cache === 'hit') {
      add(trans.__('cached'), trans.__('Answered from the ledger; nothing was spent'));
    }
    for (const flag of answer.flags) {
      const tag = element('span', 'aiplat-Tag', flag.replaceAll('_', ' '));
      tag.dataset.kind = 'flag';
      line.append(tag);
    }
    line.append(...this.buttons(answer));
    return line;
  }

  private buttons(answer: IAnswer): HTMLElement[] {
    const found: HTMLElement[] = [];
    const { open, copy } = this.actions;
    if (isCallId(answer.callId)) {
      const id = element('button', 'aiplat-Answer-id', shortId(answer.callId));
      id.type = 'button';
      id.title = this.trans.__('Show the full record of call %1', answer.callId);
      id.setAttribute('aria-label', id.title);
      id.addEventListener('click', () => open(answer.callId));
      found.push(id);
    }
    if (answer.text) {
      const button = element('button', 'aiplat-Answer-copy', this.trans.__('Copy'));
      button.type = 'button';
      button.setAttribute('aria-label', this.trans.__('Copy the answer'));
      button.addEventListener('click', () => {
        copy(answer.text);
        button.textContent = this.trans.__('Copied');
      });
      button.addEventListener('blur', () => {
        button.textContent = this.trans.__('Copy');
      });
      found.push(button);
    }
    return found;
  }

  private readonly foot = new Widget();
  private body: Widget | null = null;
  private kind = '';
}

function kindOf(answer: IAnswer): 'none' | 'large' | 'html' | 'text' | 'markdown' {
  if (answer.text === '') {
    return 'none';
  }
  if (answer.text.length > LARGE) {
    return 'large';
  }
  return answer.format === 'html' || answer.format === 'text' ? answer.format : 'markdown';
}

function source(answer: IAnswer): string {
  switch (answer.format) {
    case 'code':
      return fenced(answer.text, 'python');
    case 'json':
      return fenced(pretty(answer.text), 'json');
    default:
      return answer.text;
  }
}

/** Draws the outputs of `%%ai` cells. */
export const output: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:output',
  description: 'Draws the outputs of %%ai cells.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, registry: IRenderMimeRegistry, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const actions: IActions = {
      open: callId => void app.commands.execute(CommandIDs.openCall, { callId }),
      copy: text => Clipboard.copyToSystem(text)
    };
    registry.addFactory(
      {
        safe: true,
        mimeTypes: [CALL_MIME],
        defaultRank: 0,
        createRenderer: options => new AnswerView(options, trans, actions)
      },
      0
    );
  }
};
