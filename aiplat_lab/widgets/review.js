// The live control of a review queue: it draws what the kernel says and sends back what the reviewer does.
// What is being written is kept here until the gateway has it; everything else is the kernel's.

const SLEEPS_AFTER_MS = 4000;
const LOOKS_EVERY_MS = 5000;
const LABEL_KEYS = 'asdfghjkl';

class Reviewing {
  constructor(model, host) {
    this.model = model;
    this.state = null;
    this.sending = false;
    this.drafts = new Map();
    this.build(host);
    this.heard = content => this.hear(content);
    this.pressed = event => this.press(event);
    this.model.on('msg:custom', this.heard);
    this.root.addEventListener('keydown', this.pressed);
    this.send({ kind: 'ready' });
    this.timer = setTimeout(() => this.asleep(), SLEEPS_AFTER_MS);
    this.looks = setInterval(() => this.look(), LOOKS_EVERY_MS);
  }

  send(content) {
    this.model.send(content);
  }

  build(host) {
    this.title = el('h3', { class: 'arv-title' });
    this.count = el('span', { class: 'arv-count' });
    this.bar = el('div', { class: 'arv-bar', role: 'progressbar', 'aria-label': 'Answers reviewed', 'aria-valuemin': 0 }, el('i'));
    this.note = el('p', { class: 'arv-note', hidden: true });
    this.why = el('p', { class: 'arv-why' });
    this.asked = el('div', { class: 'arv-text', tabindex: 0, role: 'group', 'aria-label': 'What was asked' });
    this.answer = el('div', { class: 'arv-answer', tabindex: 0, role: 'group', 'aria-label': 'The answer' });
    this.facts = el('p', { class: 'arv-facts' });
    this.ratings = el('div', { class: 'arv-choices', role: 'radiogroup', 'aria-label': 'Rating, 1 is worst' });
    this.labels = el('div', { class: 'arv-choices', role: 'group', 'aria-label': 'Labels' });
    this.correction = el('textarea', { class: 'arv-area', rows: 3, 'aria-label': 'The answer as it should have been (optional)', placeholder: 'As it should have been (optional)' });
    this.comment = el('textarea', { class: 'arv-area', rows: 1, 'aria-label': 'Comment (optional)', placeholder: 'Comment (optional)' });
    this.previous = this.button('P', 'Previous', () => this.back());
    this.skip = this.button('N', 'Skip for now', () => this.pass());
    this.stored = el('span', { class: 'arv-stored' });
    this.save = this.button('⏎', 'Save and go on', () => this.submit(), 'arv-primary');
    this.hints = el('p', { class: 'arv-hints' });
    this.live = el('div', { class: 'arv-hidden', role: 'status', 'aria-live': 'polite' });
    const row = (key, text, node) => el('div', { class: 'arv-row' }, el('span', { class: 'arv-label' }, key ? el('kbd', { 'aria-hidden': true }, key) : null, text), node);
    this.body = el(
      'div',
      { class: 'arv-body', hidden: true },
      this.why,
      el('div', { class: 'arv-pair' }, el('div', {}, el('span', { class: 'arv-label' }, 'Asked'), this.asked), el('div', {}, el('span', { class: 'arv-label' }, 'Answer'), this.answer)),
      this.facts,
      row('', 'Rating', this.ratings),
      row('', 'Labels', this.labels),
      row('C', 'Correct', this.correction),
      row('M', 'Comment', this.comment),
      el('div', { class: 'arv-actions' }, this.previous, this.skip, el('span', { class: 'arv-space' }), this.stored, this.save),
      this.hints
    );
    this.root = el(
      'section',
      { class: 'arv', tabindex: 0, role: 'region', 'aria-label': 'Review queue', 'data-lm-suppress-shortcuts': 'true' },
      el('header', { class: 'arv-top' }, this.title, this.count),
      this.bar,
      this.note,
      this.body,
      this.live
    );
    this.title.textContent = 'Review queue';
    this.count.textContent = 'Getting ready…';
    for (const area of [this.correction, this.comment]) {
      area.addEventListener('input', () => this.keep());
    }
    host.append(this.root);
  }

  button(key, text, act, more = '') {
    const node = el('button', { type: 'button', class: `arv-button ${more}` }, key ? el('kbd', { 'aria-hidden': true }, key) : null, text);
    node.addEventListener('click', act);
    return node;
  }

  dispose() {
    clearTimeout(this.timer);
    clearInterval(this.looks);
    this.model.off('msg:custom', this.heard);
    this.root.removeEventListener('keydown', this.pressed);
  }

  asleep() {
    if (!this.state) {
      this.count.textContent = 'Waiting for the kernel, which is busy or gone. The record below keeps what was judged; running the cell again goes on.';
    }
  }

  /** Asks what other reviewers have done while somebody sees this, one question at a time. */
  look() {
    if (this.state && !this.looking && !document.hidden && this.root.offsetParent !== null) {
      this.looking = true;
      this.send({ kind: 'look' });
    }
  }

  hear(content) {
    if (content.kind !== 'state') {
      return;
    }
    clearTimeout(this.timer);
    this.looking = content.looked ? false : this.looking;
    this.take(content);
  }

  take(state) {
    const before = this.state;
    const another = before?.item?.key !== state.item?.key;
    this.state = state;
    if (this.sending && before?.item && (another || state.item?.stored)) {
      this.drafts.delete(before.item.key); // the gateway has it
    }
    this.sending = Boolean(state.item?.given && !state.item.stored) || (this.sending && !another && !state.item?.stored && !state.problem);
    if (another) {
      this.drawItem();
    }
    this.drawHead();
    this.drawForm();
    this.announce(before, another);
    this.body.hidden = state.item === null;
  }

  /** What is set for the item in front: as it is being written, else as it was given. */
  draft() {
    const { item } = this.state;
    return this.drafts.get(item.key) ?? { rating: item.rating, labels: item.labels, correction: item.correction, comment: item.comment };
  }

  keep(change = {}) {
    if (this.state?.item && !this.sending) {
      this.drafts.set(this.state.item.key, { ...this.draft(), correction: this.correction.value, comment: this.comment.value, ...change });
      this.drawForm();
    }
  }

  drawHead() {
    const { queue, total, done, left, agreement, problem, unstored } = this.state;
    this.title.textContent = queue;
    this.root.setAttribute('aria-label', `Review queue: ${queue}`);
    this.count.textContent = left ? `${done} of ${total} reviewed by you · ${left} left` : `${done} of ${total} reviewed by you · none left`;
    this.bar.setAttribute('aria-valuemax', total);
    this.bar.setAttribute('aria-valuenow', total - left);
    this.bar.firstChild.style.inlineSize = `${total ? (100 * (total - left)) / total : 0}%`;
    const waits = unstored > 1 ? `${unstored} judgements wait for the gateway.` : '';
    this.note.textContent = [agreement, waits, problem].filter(Boolean).join(' ');
    this.note.hidden = !this.note.textContent;
    this.note.dataset.kind = problem ? 'problem' : '';
  }

  drawItem() {
    const { item } = this.state;
    if (!item) {
      return;
    }
    this.asked.textContent = item.asked;
    this.answer.replaceChildren(markdown(item.answer));
    this.asked.scrollTop = this.answer.scrollTop = 0;
    const draft = this.draft();
    this.correction.value = draft.correction;
    this.comment.value = draft.comment;
  }

  drawForm() {
    const { item, labels, scale, left } = this.state;
    if (!item) {
      return;
    }
    const draft = this.draft();
    const others = item.others ? `${item.others} other review${item.others === 1 ? '' : 's'}` : '';
    this.why.textContent = [`Answer ${this.state.place + 1} of ${this.state.total}`, item.why, others].filter(Boolean).join(' · ');
    this.facts.textContent = [item.facts, `call ${item.call}`].filter(Boolean).join(' · ');
    const numbers = Array.from({ length: scale }, (_, index) => index + 1);
    this.choices(this.ratings, numbers, number => String(number), number => String(number), 'radio', number => draft.rating === number, number => this.rate(number));
    this.choices(this.labels, labels, (_, place) => (LABEL_KEYS[place] ?? '').toUpperCase(), label => label, 'checkbox', label => draft.labels.includes(label), label => this.mark(label));
    const said = draft.rating !== null || draft.labels.length || this.correction.value.trim() || this.comment.value.trim();
    this.save.disabled = this.sending || !said;
    for (const area of [this.correction, this.comment]) {
      area.readOnly = this.sending;
    }
    this.previous.disabled = this.state.place === 0;
    this.skip.disabled = left === 0;
    const waits = item.given && !item.stored;
    this.stored.textContent = waits && item.problem ? `Not stored yet: your judgement is kept here and sent again. ${item.problem}` : this.sending ? 'Storing…' : item.given && !this.drafts.has(item.key) ? 'Stored ✓' : '';
    this.stored.dataset.kind = waits && item.problem ? 'problem' : '';
    const keys = labels.length ? ` · ${LABEL_KEYS.slice(0, labels.length).toUpperCase().split('').join(' ')} labels` : '';
    this.hints.textContent = `1–${scale} rating${keys} · C correct · M comment · Enter saves and goes on · N skip · P previous · Esc leaves a text, Ctrl+Enter saves from it`;
  }

  /** The buttons of a group; made once, so that the focus stays where it is. */
  choices(box, values, key, text, role, on, act) {
    if (box.childElementCount !== values.length || values.some((value, place) => box.children[place].dataset.value !== String(value))) {
      box.replaceChildren(
        ...values.map((value, place) => {
          const mark = key(value, place);
          const label = text(value);
          const node = this.button(mark === label ? '' : mark, label, () => act(value), 'arv-choice');
          node.dataset.value = String(value);
          node.setAttribute('role', role);
          return node;
        })
      );
    }
    values.forEach((value, place) => {
      box.children[place].setAttribute('aria-checked', String(on(value)));
      box.children[place].disabled = this.sending;
    });
  }

  announce(before, another) {
    const { item, place, total, left, problem } = this.state;
    let said = '';
    if (problem && before?.problem !== problem) {
      said = problem;
    } else if (before && another && item) {
      said = `${before.done < this.state.done ? 'Stored. ' : ''}Answer ${place + 1} of ${total}.`;
    } else if (item?.stored && before?.item && !before.item.stored) {
      said = left ? 'Stored.' : 'Stored. None left.';
    } else if (item?.problem && before?.item?.problem !== item.problem) {
      said = 'Not stored yet; it is kept and sent again.';
    }
    if (said) {
      this.live.textContent = said;
    }
  }

  // --- what the reviewer does ----------------------------------------------------------------------------------------

  rate(number) {
    this.keep({ rating: this.draft().rating === number ? null : number });
  }

  mark(label) {
    const { labels } = this.draft();
    this.keep({ labels: labels.includes(label) ? labels.filter(one => one !== label) : [...labels, label] });
  }

  submit() {
    if (!this.state?.item || this.save.disabled || this.sending) {
      return;
    }
    const { item } = this.state;
    this.keep();
    this.send({ kind: 'submit', id: item.id, ...this.draft() });
    this.sending = true;
    this.drawSending();
    this.root.focus({ preventScroll: true });
  }

  drawSending() {
    this.save.disabled = true;
    this.stored.textContent = 'Storing…';
    for (const node of [...this.ratings.children, ...this.labels.children]) {
      node.disabled = true;
    }
  }

  pass() {
    if (!this.sending) {
      this.send({ kind: 'skip' });
    }
  }

  back() {
    if (this.state.place > 0 && !this.sending) {
      this.send({ kind: 'go', place: this.state.place - 1 });
    }
  }

  edit(area) {
    if (area === this.correction && !area.value) {
      area.value = this.state.item.answer;
      area.select();
    }
    area.focus();
  }

  press(event) {
    if (!this.state?.item || event.altKey || event.isComposing) {
      return;
    }
    const inText = event.target.tagName === 'TEXTAREA';
    const held = event.ctrlKey || event.metaKey;
    const act = inText ? this.textKeys(event.key, held) : held ? null : this.keys(event.key, event.target.tagName === 'BUTTON');
    if (inText) {
      event.stopPropagation();
    }
    if (act) {
      event.preventDefault();
      event.stopPropagation();
      act();
    }
  }

  textKeys(key, held) {
    if (key === 'Escape') {
      return () => {
        if (this.correction.value === this.state.item.answer) {
          this.correction.value = ''; // it was offered to be changed, and was not
        }
        this.keep();
        this.root.focus({ preventScroll: true });
      };
    }
    return key === 'Enter' && held ? () => this.submit() : null;
  }

  keys(key, onButton) {
    if (/^[1-9]$/.test(key) && Number(key) <= this.state.scale) {
      return () => this.rate(Number(key));
    }
    const place = LABEL_KEYS.indexOf(key.toLowerCase());
    if (key.length === 1 && place >= 0 && place < this.state.labels.length) {
      return () => this.mark(this.state.labels[place]);
    }
    if (key === 'Enter' && !onButton) {
      return () => this.submit();
    }
    const named = { c: () => this.edit(this.correction), m: () => this.edit(this.comment), n: () => this.pass(), p: () => this.back() };
    return named[key.toLowerCase()];
  }
}

function render({ model, el: host }) {
  const reviewing = new Reviewing(model, host);
  return () => reviewing.dispose();
}

export default { render };
