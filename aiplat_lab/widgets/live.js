// The live control of an A/B comparison: it draws what the kernel says and sends back what the rater does.
// No state is kept here that matters: the kernel has the answers, the gateway has the votes.

const SLEEPS_AFTER_MS = 4000;
const LOOKS_EVERY_MS = 3000;
const MOST_DIFF_WORDS = 4000;

// --- word diff -------------------------------------------------------------------------------------------------------

export const words = text => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

/** For each word of `a` and of `b`, whether the other side has it in the same order. Null when the texts are too long. */
export function kept(a, b) {
  if (a.length * b.length > MOST_DIFF_WORDS * MOST_DIFF_WORDS) {
    return null;
  }
  const wide = b.length + 1;
  const best = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      best[i * wide + j] = a[i] === b[j] ? best[(i + 1) * wide + j + 1] + 1 : Math.max(best[(i + 1) * wide + j], best[i * wide + j + 1]);
    }
  }
  const inA = new Array(a.length).fill(false);
  const inB = new Array(b.length).fill(false);
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) {
      inA[i] = inB[j] = true;
      i += 1;
      j += 1;
    } else if (best[(i + 1) * wide + j] >= best[i * wide + j + 1]) {
      i += 1;
    } else {
      j += 1;
    }
  }
  return [inA, inB];
}

/** The words, with a mark around each run that the other side does not have. */
function marked(list, same, kind) {
  const found = [];
  for (let i = 0; i < list.length; ) {
    let run = '';
    const alike = same[i];
    for (; i < list.length && same[i] === alike; i += 1) {
      run += list[i];
    }
    found.push(alike || !run.trim() ? run : el(kind, {}, run));
  }
  return found;
}

// --- the control -----------------------------------------------------------------------------------------------------

class Comparison {
  constructor(model, host) {
    this.model = model;
    this.texts = [];
    this.shown = [];
    this.diff = false;
    this.state = null;
    this.voting = null;
    this.build(host);
    this.listen();
    this.send({ kind: 'ready' });
    this.timer = setTimeout(() => this.asleep(), SLEEPS_AFTER_MS);
  }

  send(content) {
    this.model.send(content);
  }

  build(host) {
    this.title = el('h3', { class: 'aab-title' });
    this.count = el('span', { class: 'aab-count' });
    this.bar = el('div', { class: 'aab-bar', role: 'progressbar', 'aria-label': 'Inputs judged', 'aria-valuemin': 0 }, el('i'));
    this.verdict = el('p', { class: 'aab-verdict' });
    this.raters = el('p', { class: 'aab-raters', hidden: true });
    this.input = el('div', { class: 'aab-input' });
    this.columns = el('div', { class: 'aab-columns', role: 'group', 'aria-label': 'Answers' });
    this.reason = el('input', { class: 'aab-reason', type: 'text', maxlength: 500, 'aria-label': 'Why, in a few words (optional)', placeholder: 'Why? (optional)' });
    this.tie = this.button('0', 'Tie', () => this.vote('tie'));
    this.none = this.button('N', 'None is good', () => this.vote('none'));
    this.diffButton = this.button('D', 'Differences', () => this.toggle());
    this.diffButton.setAttribute('aria-pressed', 'false');
    this.next = this.button('⏎', 'Next', () => this.forward(), 'aab-primary');
    this.explain = this.button('', 'Add reason', () => this.addReason());
    this.stored = el('span', { class: 'aab-stored' });
    this.actions = el(
      'div',
      { class: 'aab-actions' },
      this.tie,
      this.none,
      el('label', { class: 'aab-why' }, el('kbd', { 'aria-hidden': true }, 'R'), this.reason),
      this.explain,
      this.diffButton,
      el('span', { class: 'aab-space' }),
      this.stored,
      this.next
    );
    this.hints = el('p', { class: 'aab-hints' });
    this.live = el('div', { class: 'aab-hidden', role: 'status', 'aria-live': 'polite' });
    this.root = el(
      'section',
      { class: 'aab', tabindex: 0, role: 'region', 'aria-label': 'A/B comparison', 'data-lm-suppress-shortcuts': 'true' },
      el('header', { class: 'aab-head' }, el('div', { class: 'aab-top' }, this.title, this.count), this.bar, this.verdict, this.raters),
      this.input,
      this.columns,
      this.actions,
      this.hints,
      this.live
    );
    this.body = [this.input, this.columns, this.actions, this.hints];
    for (const part of this.body) {
      part.hidden = true;
    }
    this.title.textContent = 'A/B comparison';
    this.verdict.textContent = 'Getting ready…';
    host.append(this.root);
  }

  button(key, text, act, more = '') {
    const node = el('button', { type: 'button', class: `aab-button ${more}` }, key ? el('kbd', { 'aria-hidden': true }, key) : null, text);
    node.addEventListener('click', act);
    return node;
  }

  listen() {
    this.heard = content => this.hear(content);
    this.pressed = event => this.press(event);
    this.model.on('msg:custom', this.heard);
    this.root.addEventListener('keydown', this.pressed);
    this.looks = setInterval(() => this.look(), LOOKS_EVERY_MS);
  }

  /** Asks for votes of other raters while somebody sees this, one question at a time. */
  look() {
    const quiet = this.state?.columns.every(one => !['waiting', 'running'].includes(one.state));
    if (quiet && !this.looking && !document.hidden && this.root.offsetParent !== null) {
      this.looking = true;
      this.send({ kind: 'look' });
    }
  }

  dispose() {
    clearInterval(this.looks);
    clearTimeout(this.timer);
    this.model.off('msg:custom', this.heard);
    this.root.removeEventListener('keydown', this.pressed);
  }

  /** No kernel answers: it is busy with the rest of the cell, or gone. The record below has what was judged. */
  asleep() {
    if (!this.state) {
      this.root.dataset.asleep = 'true';
      this.verdict.textContent = 'Waiting for the kernel, which is busy or gone. The record below keeps what was judged; ab(resume=…) goes on with it.';
    }
  }

  hear(content) {
    if (content.kind === 't') {
      this.grow(content);
    } else if (content.kind === 'looked') {
      this.looking = false;
    } else if (content.kind === 'state') {
      clearTimeout(this.timer);
      this.take(content);
    }
  }

  /** Pieces of the answers under way, all columns in one message. */
  grow({ b, c }) {
    if (!this.state || b !== this.state.input.id) {
      return;
    }
    for (const [place, [at, text]] of Object.entries(c)) {
      const column = Number(place);
      if ((this.texts[column] ?? '').length !== at) {
        this.send({ kind: 'ready' }); // a message was lost: have all of it again
        return;
      }
      this.texts[column] += text;
      const node = this.shown[column];
      if (node) {
        const low = node.body.scrollHeight - node.body.scrollTop - node.body.clientHeight < 40;
        node.body.append(text);
        if (low) {
          node.body.scrollTop = node.body.scrollHeight;
        }
      }
    }
  }

  take(state) {
    const before = this.state;
    const another = !before || before.input.id !== state.input.id || before.columns.length !== state.columns.length;
    this.state = state;
    delete this.root.dataset.asleep;
    state.columns.forEach((column, place) => {
      if (column.text !== undefined) {
        this.texts[place] = column.text;
      }
      this.texts[place] ??= '';
    });
    this.texts.length = state.columns.length;
    if (another) {
      this.voting = null;
      this.reason.value = state.vote?.reason ?? '';
      this.drawInput();
      this.drawColumns();
    }
    if (state.vote) {
      this.voting = null;
    }
    this.drawHead();
    state.columns.forEach((_, place) => this.drawColumn(place, before && !another ? before.columns[place] : null));
    this.drawActions();
    this.announce(before, another);
    for (const part of this.body) {
      part.hidden = false;
    }
  }

  drawHead() {
    const { name, total, judged, verdict } = this.state;
    this.title.textContent = name;
    this.root.setAttribute('aria-label', `A/B comparison: ${name}`);
    this.count.textContent = total === 1 ? (judged ? 'judged' : '1 input') : `${judged} of ${total} judged`;
    this.bar.setAttribute('aria-valuemax', total);
    this.bar.setAttribute('aria-valuenow', judged);
    this.bar.firstChild.style.inlineSize = `${(100 * judged) / total}%`;
    this.verdict.dataset.state = verdict.state;
    this.verdict.textContent = verdict.sentence;
    this.raters.textContent = [this.state.agreement, this.state.problem].filter(Boolean).join(' ');
    this.raters.hidden = !this.raters.textContent;
  }

  drawInput() {
    const { input, place, total } = this.state;
    const label = total === 1 ? 'Input' : `Input ${place + 1}`;
    const text = el('div', { class: 'aab-text', tabindex: 0, role: 'group', 'aria-label': label }, input.text);
    this.input.replaceChildren(el('span', { class: 'aab-label' }, label), text);
  }

  drawColumns() {
    this.columns.style.setProperty('--aab-count', this.state.columns.length);
    this.shown = this.state.columns.map((_, place) => {
      const head = el('h4', { class: 'aab-name' });
      const mark = el('span', { class: 'aab-mark' });
      const about = el('p', { class: 'aab-about' });
      const body = el('div', { class: 'aab-answer', tabindex: 0, role: 'group', 'aria-label': `Answer ${place + 1}` });
      const facts = el('p', { class: 'aab-facts' });
      const prefer = this.button(String(place + 1), 'Prefer this answer', () => this.vote(place), 'aab-prefer');
      prefer.setAttribute('aria-label', `Prefer answer ${place + 1}`);
      const keep = this.button('', 'Keep as draft', () => this.promote(place), 'aab-keep');
      const card = el('article', { class: 'aab-card' }, el('div', { class: 'aab-cardhead' }, head, mark), about, body, facts, keep, prefer);
      return { card, head, mark, about, body, facts, keep, prefer };
    });
    this.columns.replaceChildren(...this.shown.map(one => one.card));
  }

  drawColumn(place, before) {
    const { vote } = this.state;
    const column = this.state.columns[place];
    const node = this.shown[place];
    const chosen = vote?.choice === place;
    node.card.dataset.state = column.state;
    node.card.dataset.chosen = String(chosen);
    node.card.dataset.lost = String(vote !== null && !chosen);
    node.head.textContent = column.name ?? `Answer ${place + 1}`;
    node.mark.textContent = chosen ? 'Your choice' : WORDS[column.state] ?? '';
    node.mark.dataset.kind = chosen ? 'chosen' : column.state;
    const settings = Object.entries(column.settings ?? {}).map(([key, value]) => `${key} ${value}`);
    node.about.textContent = [column.prompt, ...settings].filter(Boolean).join(' · ');
    node.about.title = node.about.textContent;
    node.about.hidden = !node.about.textContent;
    node.facts.textContent = column.facts ?? '';
    node.facts.hidden = !node.facts.textContent;
    node.prefer.hidden = vote !== null;
    this.drawKeep(node.keep, column);
    node.body.setAttribute('aria-busy', String(column.state === 'running'));
    if (!before || column.text !== undefined || before.state !== column.state || before.error !== column.error) {
      this.drawBody(place);
    }
  }

  /** The button that saves a variant in the prompt registry: once its name is known, and plainly said when it is done. */
  drawKeep(keep, column) {
    const kept = this.state.promoted[column.name];
    const best = this.state.verdict.winner && this.state.verdict.winner === column.name;
    keep.hidden = column.name === undefined;
    keep.disabled = Boolean(kept);
    keep.classList.toggle('aab-primary', Boolean(best) && !kept);
    keep.textContent = kept ? `Kept as ${kept}` : best ? 'Keep the winner as draft' : 'Keep as draft';
    keep.setAttribute('aria-label', kept ? `${column.name} is kept as ${kept}` : `Keep ${column.name} as a draft in the prompt registry`);
  }

  drawBody(place) {
    const column = this.state.columns[place];
    const body = this.shown[place].body;
    const text = this.texts[place];
    const over = !['waiting', 'running'].includes(column.state);
    body.classList.toggle('aab-plain', !over || this.diff);
    if (!over) {
      body.replaceChildren(text);
    } else if (this.diff) {
      body.replaceChildren(...this.different(place));
    } else {
      body.replaceChildren(markdown(text));
    }
    if (over && column.state !== 'ok') {
      const said = column.error ?? (text ? 'This answer broke off; the reason stands here after the vote.' : 'No answer came; the reason stands here after the vote.');
      body.append(el('p', { class: 'aab-error' }, said));
    }
  }

  /** The text of a column, with what the first (or, for the first, the second) does not have. */
  different(place) {
    const other = place === 0 ? 1 : 0;
    const [a, b] = [words(this.texts[place]), words(this.texts[other])];
    const same = kept(a, b);
    return same ? marked(a, same[0], place === 0 ? 'del' : 'ins') : [this.texts[place]];
  }

  drawActions() {
    const { vote, more, columns, unstored } = this.state;
    const given = vote !== null;
    for (const node of [this.tie, this.none]) {
      node.hidden = given;
      node.disabled = this.voting !== null;
    }
    for (const { prefer } of this.shown) {
      prefer.disabled = this.voting !== null;
    }
    this.root.dataset.voted = String(given);
    this.explain.hidden = !given || Boolean(vote.reason);
    this.reason.readOnly = given && Boolean(vote.reason);
    if (given && vote.reason) {
      this.reason.value = vote.reason;
    }
    this.next.hidden = !given || !more;
    const choice = given && typeof vote.choice === 'string' ? (vote.choice === 'tie' ? 'A tie. ' : 'None is good. ') : '';
    const stored = given ? (vote.stored ? 'Stored ✓' : vote.problem ? 'Not stored yet' : 'Storing…') : '';
    this.stored.textContent = choice + stored + (given && !more && vote.stored ? ' All inputs are judged.' : '');
    this.stored.dataset.kind = given && vote.problem && !vote.stored ? 'problem' : '';
    this.stored.title = given ? vote.problem || '' : '';
    if (given && vote.problem && !vote.stored) {
      this.stored.textContent = `Not stored yet: your vote is kept here and sent again. ${vote.problem}`;
    } else if (unstored > 1) {
      this.stored.textContent += ` ${unstored} votes wait for the gateway.`;
    }
    const keys = columns.length === 2 ? '1 2 or ← → choose' : `1–${columns.length} choose`;
    this.hints.textContent = given ? (more ? 'Enter goes on · D differences' : 'D differences') : `${keys} · 0 tie · N none · R reason · D differences`;
  }

  announce(before, another) {
    const { vote, columns, place, total } = this.state;
    let said = '';
    if (another && before) {
      said = `Input ${place + 1} of ${total}.`;
    } else if (vote?.stored && !before?.vote?.stored) {
      const name = typeof vote.choice === 'number' ? `You chose ${columns[vote.choice].name}.` : '';
      said = `Vote stored. ${name} ${this.state.verdict.sentence}`;
    } else if (vote?.problem && before?.vote?.problem !== vote.problem) {
      said = `Vote not stored yet; it is kept and sent again.`;
    } else if (columns.every(one => !['waiting', 'running'].includes(one.state)) && before?.columns.some(one => ['waiting', 'running'].includes(one.state))) {
      said = 'All answers are here.';
    }
    if (said) {
      this.live.textContent = said;
    }
  }

  // --- what the rater does -------------------------------------------------------------------------------------------

  vote(choice) {
    if (!this.state || this.state.vote || this.voting !== null) {
      return;
    }
    this.voting = choice;
    this.send({ kind: 'vote', ballot: this.state.ballot, choice, reason: this.reason.value });
    this.drawActions();
    this.stored.textContent = 'Storing…';
    this.root.focus({ preventScroll: true });
  }

  promote(place) {
    this.shown[place].keep.disabled = true;
    this.send({ kind: 'promote', place });
    this.root.focus({ preventScroll: true });
  }

  addReason() {
    if (this.state?.vote && this.reason.value.trim()) {
      this.send({ kind: 'explain', ballot: this.state.ballot, reason: this.reason.value });
      this.root.focus({ preventScroll: true });
    }
  }

  forward() {
    if (this.state?.vote && this.state.more) {
      this.send({ kind: 'next' });
      this.root.focus({ preventScroll: true });
    }
  }

  toggle() {
    this.diff = !this.diff;
    this.diffButton.setAttribute('aria-pressed', String(this.diff));
    this.shown.forEach((_, place) => this.drawBody(place));
  }

  press(event) {
    if (!this.state || event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (event.target === this.reason) {
      this.pressInReason(event);
      return;
    }
    const onButton = event.target.tagName === 'BUTTON';
    const act = this.keys(event.key, onButton, event.target.classList.contains('aab-answer') || event.target.classList.contains('aab-text'));
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
    }
  }

  pressInReason(event) {
    event.stopPropagation();
    if (event.key === 'Enter') {
      event.preventDefault();
      this.state.vote ? this.addReason() : this.root.focus({ preventScroll: true });
    } else if (event.key === 'Escape') {
      event.preventDefault();
      this.root.focus({ preventScroll: true });
    }
  }

  keys(key, onButton, inText) {
    const count = this.state.columns.length;
    if (/^[1-4]$/.test(key) && Number(key) <= count) {
      return () => this.vote(Number(key) - 1);
    }
    if (key === 'ArrowLeft' && count === 2 && !inText) {
      return () => this.vote(0);
    }
    if (key === 'ArrowRight' && count === 2 && !inText) {
      return () => this.vote(1);
    }
    if (key === '0' || key === '=') {
      return () => this.vote('tie');
    }
    if (key === 'Enter' && !onButton) {
      return () => this.forward();
    }
    const named = { n: () => this.vote('none'), d: () => this.toggle(), r: () => this.reason.focus() };
    return named[key.toLowerCase()];
  }
}

const WORDS = { waiting: 'Waiting', running: 'Answering', ok: '', error: 'Failed', refused: 'Refused', cancelled: 'Cancelled' };

function render({ model, el: host }) {
  const comparison = new Comparison(model, host);
  return () => comparison.dispose();
}

export default { render };
