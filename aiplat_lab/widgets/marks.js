// What the controls of a notebook draw with: elements, and the Markdown of answers. Each control's own file follows in one module.

/** An element with attributes and children; texts become text nodes, so that an answer never becomes markup. */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) {
      continue;
    }
    node.setAttribute(key, value === true ? '' : String(value));
  }
  node.append(...children.filter(child => child !== null && child !== undefined));
  return node;
}

// --- Markdown, as far as answers use it; built of elements, so that nothing in it can run or load -------------------

const SPANS = /(`+)([^`\n]+)\1|\*\*(?=\S)([^*\n]+?)\*\*|(?<![\w*])\*(?=\S)([^*\n]+?)\*(?![\w*])/g;

function spans(text) {
  const found = [];
  let at = 0;
  for (const match of text.matchAll(SPANS)) {
    found.push(text.slice(at, match.index));
    const [whole, , code, bold, italic] = match;
    found.push(code !== undefined ? el('code', {}, code) : bold !== undefined ? el('strong', {}, bold) : el('em', {}, italic));
    at = match.index + whole.length;
  }
  found.push(text.slice(at));
  return found;
}

const ITEM = /^(\s*)([-*+]|\d{1,3}[.)])\s+(.*)$/;

export function markdown(text) {
  const box = document.createDocumentFragment();
  const lines = text.split('\n');
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = /^\s*(`{3,}|~{3,})/.exec(line);
    const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      const from = (at += 1);
      while (at < lines.length && !lines[at].trim().startsWith(fence[1])) {
        at += 1;
      }
      box.append(el('pre', {}, el('code', {}, lines.slice(from, at).join('\n'))));
      at += 1;
    } else if (heading) {
      box.append(el('p', { class: 'aab-heading' }, ...spans(heading[2])));
      at += 1;
    } else if (ITEM.test(line)) {
      const list = el(/^\s*\d/.test(line) ? 'ol' : 'ul');
      for (let item = ITEM.exec(line); item; item = ITEM.exec(lines[at] ?? '')) {
        list.append(el('li', {}, ...spans(item[3])));
        at += 1;
      }
      box.append(list);
    } else {
      const from = at;
      while (at < lines.length && lines[at].trim() && (at === from || !(ITEM.test(lines[at]) || /^\s*(`{3}|~{3}|#{1,6}\s)/.test(lines[at])))) {
        at += 1;
      }
      box.append(el('p', {}, ...spans(lines.slice(from, at).join('\n'))));
    }
  }
  return box;
}
