import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry, MimeModel, RenderedMarkdown } from '@jupyterlab/rendermime';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { ITranslator, nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { CommandIDs } from '../commands';
import { count, money, seconds, shortId } from '../figures';
import { quietSanitizer } from '../safety';
import { statusWord } from '../views/parts';
import { isCallId, WireError } from '../wire';
import { type ICompared, type IComparedAnswer, type IComparison, parseComparison } from '../wireComparison';

export const AB_MIME = 'application/vnd.aiplat.ab+json';
const OPEN_AT_FIRST = 3;

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  node.className = className;
  node.append(...children);
  return node;
}

/** The saved record of an A/B experiment: verdict, variants in figures, and each input with its answers and votes. */
class ComparisonView extends Widget implements IRenderMime.IRenderer {
  constructor(
    private readonly options: IRenderMime.IRendererOptions,
    private readonly trans: TranslationBundle,
    private readonly open: (callId: string) => void
  ) {
    super();
    this.addClass('aiplat-Ab');
    this.node.setAttribute('role', 'region');
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    let found: IComparison;
    try {
      found = parseComparison(model.data[AB_MIME]);
    } catch (error) {
      if (!(error instanceof WireError)) {
        throw error;
      }
      this.node.textContent = this.trans.__('This output is not a record of an A/B experiment: %1.', error.message);
      return;
    }
    this.found = found;
    this.node.setAttribute('aria-label', this.trans.__('Record of the A/B experiment %1', found.name));
    this.drop();
    this.node.replaceChildren(
      this.head(),
      this.verdict(),
      this.table(),
      ...found.inputs.map((one, place) => this.input(one, place)),
      this.foot()
    );
  }

  dispose(): void {
    if (!this.isDisposed) {
      this.drop();
      super.dispose();
    }
  }

  private drop(): void {
    for (const body of this.bodies.splice(0)) {
      body.dispose();
    }
  }

  private head(): HTMLElement {
    const { found, trans } = this;
    const judged = found.inputs.filter(one => one.state === 'judged').length;
    const done = trans.__('%1 of %2 judged', count(judged), count(found.inputs.length));
    return element(
      'header',
      'aiplat-Ab-head',
      element('h3', 'aiplat-Ab-title', found.name),
      element('span', 'aiplat-aside', done)
    );
  }

  private verdict(): HTMLElement {
    const line = element('p', 'aiplat-Ab-verdict', this.found.verdict.sentence);
    line.dataset.state = this.found.verdict.state;
    return line;
  }

  private table(): HTMLElement {
    const { found, trans } = this;
    if (!found.sides.length) {
      return element('p', 'aiplat-note', trans.__('The variants are named with the first vote.'));
    }
    const columns = [
      trans.__('Variant'),
      trans.__('Votes'),
      trans.__('Prompt'),
      trans.__('Model'),
      trans.__('Settings'),
      trans.__('Cost an answer'),
      trans.__('Latency'),
      trans.__('Tokens out'),
      trans.__('Failed')
    ];
    const top = element('tr', '');
    for (const column of columns) {
      const cell = element('th', '', column);
      cell.scope = 'col';
      top.append(cell);
    }
    const body = element('tbody', '');
    for (const side of found.sides) {
      const name = element('th', '', side.name);
      name.scope = 'row';
      if (side.name === found.verdict.winner) {
        name.append(' ', element('span', 'aiplat-Tag', trans.__('preferred')));
      }
      const cost = money(side.meanCostUsd, found.currency, found.usdRate, trans.__('unknown'));
      const prompt = element('td', 'aiplat-Ab-prompt', side.prompt || trans.__('the input alone'));
      prompt.title = side.prompt;
      body.append(
        element(
          'tr',
          '',
          name,
          element('td', 'aiplat-figure', count(side.votes)),
          prompt,
          element('td', '', side.model || trans.__('default')),
          element('td', '', side.settings || '–'),
          element('td', 'aiplat-figure', side.answered ? cost : '–'),
          element('td', 'aiplat-figure', side.medianLatencyS === null ? '–' : seconds(side.medianLatencyS)),
          element(
            'td',
            'aiplat-figure',
            side.meanOutputTokens === null ? '–' : count(Math.round(side.meanOutputTokens))
          ),
          element('td', 'aiplat-figure', count(side.failed))
        )
      );
    }
    const table = element('table', 'aiplat-Ab-table', element('thead', '', top), body);
    const frame = element('div', 'aiplat-Ab-frame', table);
    frame.tabIndex = 0;
    frame.setAttribute('role', 'group');
    frame.setAttribute('aria-label', trans.__('The variants in figures'));
    return frame;
  }

  private input(one: ICompared, place: number): HTMLElement {
    const { trans } = this;
    const line = element('summary', 'aiplat-Ab-summary');
    line.append(
      element('span', 'aiplat-Ab-number', `${place + 1}`),
      element('span', 'aiplat-Ab-short', one.text),
      element('span', 'aiplat-aside', this.said(one))
    );
    const part = element('details', 'aiplat-Ab-input', line);
    let drawn = false;
    const draw = () => {
      if (part.open && !drawn) {
        drawn = true;
        const asked = element('pre', 'aiplat-Ab-asked', one.text);
        asked.setAttribute('aria-label', trans.__('The input'));
        const answers = element('div', 'aiplat-Ab-answers', ...one.answers.map(answer => this.answer(one, answer)));
        part.append(asked, answers, ...this.votes(one));
      }
    };
    part.addEventListener('toggle', draw);
    part.open = place < OPEN_AT_FIRST && one.answers.length > 0;
    draw();
    return part;
  }

  private said(one: ICompared): string {
    const { trans } = this;
    const vote = one.state === 'judged' ? one.votes[0] : undefined;
    if (vote) {
      return this.choice(vote.winner);
    }
    if (one.hidden) {
      return trans.__('answers hidden until the vote');
    }
    return one.state === 'waiting' ? trans.__('not answered yet') : trans.__('not judged');
  }

  private choice(winner: string): string {
    switch (winner) {
      case 'tie':
        return this.trans.__('a tie');
      case 'none':
        return this.trans.__('none is good');
      default:
        return this.trans.__('prefers %1', winner);
    }
  }

  private votes(one: ICompared): HTMLElement[] {
    return one.votes.map(vote => {
      const who = vote.rater || this.trans.__('a rater');
      const stored = vote.stored ? '' : ` (${this.trans.__('not stored yet')})`;
      const line = element('p', 'aiplat-Ab-vote', `${who} ${this.choice(vote.winner)}${stored}`);
      if (vote.reason) {
        line.append(': ', element('q', '', vote.reason));
      }
      return line;
    });
  }

  private answer(one: ICompared, answer: IComparedAnswer): HTMLElement {
    const { trans } = this;
    const chosen = one.state === 'judged' && one.votes[0]?.winner === answer.variant;
    const title = element('h4', 'aiplat-Ab-name', answer.variant);
    const head = element('div', 'aiplat-Ab-cardhead', title);
    if (chosen) {
      head.append(element('span', 'aiplat-Tag', trans.__('chosen')));
    }
    const card = element('article', 'aiplat-Ab-card', head);
    card.dataset.chosen = String(chosen);
    if (answer.text) {
      const sanitizer = quietSanitizer(this.options.sanitizer, address => trans.__('[image not loaded: %1]', address));
      const body = new RenderedMarkdown({
        ...this.options,
        sanitizer,
        trustHandler: null,
        mimeType: 'text/markdown'
      });
      body.addClass('aiplat-Ab-text');
      this.bodies.push(body);
      void body.renderModel(new MimeModel({ data: { 'text/markdown': answer.text }, trusted: false }));
      card.append(body.node);
    }
    if (answer.status !== 'ok' && answer.status !== 'running' && answer.status !== 'waiting') {
      const reason = element('p', 'aiplat-Answer-reason', element('strong', '', statusWord(answer.status, trans)));
      reason.append(` ${answer.error || answer.errorType}`);
      card.append(reason);
    }
    card.append(this.facts(answer));
    return card;
  }

  private facts(answer: IComparedAnswer): HTMLElement {
    const { found, trans } = this;
    const line = element('div', 'aiplat-Answer-facts');
    const add = (said: string, title = '') => {
      const item = element('span', 'aiplat-Answer-fact', said);
      item.title = title;
      line.append(item);
    };
    add(answer.model || answer.responseModel || trans.__('default model'), answer.provider);
    if (answer.inputTokens !== null && answer.outputTokens !== null) {
      add(trans.__('%1 → %2 tokens', count(answer.inputTokens), count(answer.outputTokens)));
    }
    if (answer.status === 'ok') {
      add(money(answer.costUsd, found.currency, found.usdRate, trans.__('cost unknown')));
    }
    if (answer.latencyS !== null) {
      add(seconds(answer.latencyS));
    }
    if (answer.cached) {
      add(trans.__('cached'), trans.__('Answered from the ledger; nothing was spent'));
    }
    if (answer.cut) {
      add(trans.__('cut at the token limit'));
    }
    if (isCallId(answer.callId)) {
      const id = element('button', 'aiplat-Answer-id', shortId(answer.callId));
      id.type = 'button';
      id.title = trans.__('Show the full record of call %1', answer.callId);
      id.setAttribute('aria-label', id.title);
      id.addEventListener('click', () => this.open(answer.callId));
      line.append(id);
    }
    return line;
  }

  private foot(): HTMLElement {
    const { found, trans } = this;
    const kept = found.unstoredVotes
      ? `${trans.__('%1 votes are not stored yet; they are kept and sent again.', count(found.unstoredVotes))} `
      : '';
    return element('p', 'aiplat-Ab-foot', kept, trans.__('Experiment '), element('code', '', found.experiment));
  }

  private found: IComparison = parseComparison({});
  private readonly bodies: Widget[] = [];
}

/** Draws the saved records of A/B experiments. */
export const comparison: JupyterFrontEndPlugin<void> = {
  id: 'aiplat-lab:comparison',
  description: 'Draws the saved records of A/B experiments.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, registry: IRenderMimeRegistry, translator: ITranslator | null): void => {
    const trans = (translator ?? nullTranslator).load('aiplat_lab');
    const open = (callId: string) => void app.commands.execute(CommandIDs.openCall, { callId });
    registry.addFactory(
      {
        safe: true,
        mimeTypes: [AB_MIME],
        defaultRank: 0,
        createRenderer: options => new ComparisonView(options, trans, open)
      },
      0
    );
  }
};
