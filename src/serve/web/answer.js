'use strict';

// How an answer is drawn: text, reasoning, sources, the model's certainty; and what people say about it.
const icon = (name) => `<svg width="15" height="15" viewBox="0 0 24 24" aria-hidden="true"><use href="#${name}"/></svg>`;
const seconds = (s) => (s < 1 ? Math.round(s * 1000) + ' ms' : s.toFixed(1) + ' s');

// Tokens that hold whole characters, alone or together: [{text, tokens}].
function readableTokens(tokens) {
  const groups = [];
  let bytes = [], held = [];
  for (const token of tokens) {
    held.push(token);
    bytes.push(...(token.b || []));
    try {
      groups.push({ text: new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(bytes)), tokens: held });
      bytes = [];
      held = [];
    } catch { /* a character goes on in the next token */ }
  }
  if (held.length) groups.push({ text: new TextDecoder().decode(new Uint8Array(bytes)), tokens: held });
  return groups.filter((g) => g.text);
}

// Spans that are the more tinted the less sure the model was.
function tokensElement(tokens) {
  const box = document.createElement('div');
  box.className = 'tokens';
  for (const group of readableTokens(tokens)) {
    const span = document.createElement('span');
    const probability = Math.exp(group.tokens.reduce((sum, token) => sum + token.p, 0));
    span.textContent = group.text;
    span.tabIndex = 0;
    span.style.setProperty('--doubt', Math.min(1, Math.max(0, -Math.log10(Math.max(probability, 1e-4)) / 2.5)).toFixed(2));
    span.tokens = group.tokens;
    box.append(span);
  }
  return box;
}

const percent = (logprob) => { const p = Math.exp(logprob) * 100; return (p >= 99.95 ? '100' : p >= 10 ? p.toFixed(1) : p >= 0.1 ? p.toFixed(2) : '<0.1') + ' %'; };
const visible = (text) => text.replace(/\n/g, '⏎').replace(/\t/g, '⇥').replace(/^ | $/g, '␣') || '∅';

// A token's own name: its text, or its bytes in hexadecimal where they are only a part of a character. All such parts decode to the same sign.
function tokenName(bytes) {
  const all = new Uint8Array(bytes || []);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(all);
  } catch {
    return '‹' + Array.from(all, (b) => b.toString(16).toUpperCase().padStart(2, '0')).join(' ') + '›';
  }
}

function showTip(span) {
  const tip = $('tip');
  tip.textContent = '';
  for (const token of span.tokens) {
    const rows = (token.top || []).slice(0, 5);
    const said = tokenName(token.b);
    if (!rows.some(([text]) => text === said)) rows.push([said, token.p]);
    for (const [text, logprob] of rows) {
      const row = document.createElement('div');
      const name = document.createElement('b'), value = document.createElement('span'), bar = document.createElement('i');
      name.textContent = visible(text);
      value.textContent = percent(logprob);
      bar.style.width = Math.max(1, Math.exp(logprob) * 100) + '%';
      if (text === said) row.className = 'said';
      row.append(bar, name, value);
      tip.append(row);
    }
  }
  tip.hidden = false;
  const at = span.getClientRects()[0], width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = Math.max(8, Math.min(at.left, innerWidth - width - 8)) + 'px';
  tip.style.top = (at.bottom + height + 12 > innerHeight ? Math.max(8, at.top - height - 6) : at.bottom + 6) + 'px';
}
const hideTip = () => { $('tip').hidden = true; };
for (const type of ['pointerover', 'focusin', 'click']) document.addEventListener(type, (e) => { const span = e.target.closest && e.target.closest('.tokens span'); if (span) showTip(span); else if (type !== 'focusin') hideTip(); });
document.addEventListener('scroll', hideTip, true);

// [1] in the text becomes a button that shows the source; in text nodes only, so that nothing else can be hit.
function linkCitations(element, sources) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT, { acceptNode: (n) => (n.parentElement.closest('code, a, .sources') ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT) });
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (const node of nodes) {
    const parts = node.data.split(/\[(\d{1,2})\]/);
    if (parts.length < 3) continue;
    const piece = document.createDocumentFragment();
    parts.forEach((part, i) => {
      if (i % 2 === 0) { piece.append(part); return; }
      if (!sources.some((s) => s.index === Number(part))) { piece.append(`[${part}]`); return; }
      const button = document.createElement('button');
      button.className = 'cite';
      button.dataset.cite = part;
      button.textContent = part;
      piece.append(button);
    });
    node.replaceWith(piece);
  }
}

function sourcesElement(sources) {
  const box = document.createElement('div');
  box.className = 'sources';
  const title = document.createElement('div');
  title.className = 'label';
  title.textContent = t('sources');
  box.append(title);
  for (const source of sources) {
    const details = document.createElement('details'), summary = document.createElement('summary'), text = document.createElement('div');
    details.dataset.source = source.index;
    summary.textContent = `[${source.index}] ${source.path}${source.heading ? ' › ' + source.heading : ''}`;
    text.className = 'text';
    text.innerHTML = markdown(source.text);
    details.append(summary, text);
    box.append(details);
  }
  return box;
}

function fillAnswer(element, turn) {
  element.textContent = '';
  if (turn.reasoning) {
    const details = document.createElement('details'), summary = document.createElement('summary'), text = document.createElement('div');
    details.className = 'reasoning';
    details.open = !!turn.pending && !turn.content;
    summary.textContent = t('thinking');
    text.innerHTML = markdown(turn.reasoning);
    details.append(summary, text);
    element.append(details);
  }
  if (turn.showTokens && turn.tokens) {
    element.append(tokensElement(turn.tokens));
  } else {
    const text = document.createElement('div');
    text.className = 'text' + (turn.pending ? ' cursor' : '');
    text.innerHTML = turn.content ? markdown(turn.content) : '';
    if (turn.sources) linkCitations(text, turn.sources);
    element.append(text);
  }
  if (turn.error) {
    const failed = document.createElement('p');
    failed.className = 'error';
    failed.innerHTML = inline(turn.error);
    element.append(failed);
  }
  if (turn.sources && !turn.pending) element.append(sourcesElement(turn.sources));
}

function footHtml(turn, index, last) {
  if (turn.pending) return '';
  const button = (what, name, label, pressed) => `<button data-do="${what}" data-index="${index}"${pressed === undefined ? '' : ` aria-pressed="${pressed}"`} title="${t(label)}" aria-label="${t(label)}">${icon(name)}</button>`;
  let html = button('copy', 'copyIcon', 'copy');
  if (turn.role === 'user') return html + button('edit', 'editIcon', 'edit');
  if (last) html += button('again', 'againIcon', 'again');
  if (turn.content) html += button('up', 'upIcon', 'good', turn.rated === 'up') + button('down', 'downIcon', 'bad', turn.rated === 'down') + button('correct', 'editIcon', 'correct', !!turn.correction);
  if (turn.tokens) html += button('tokens', 'tokensIcon', turn.showTokens ? 'text' : 'tokens', !!turn.showTokens);
  if (turn.stats) html += `<span>${escapeHtml(t('stats')(turn.stats.tokens, turn.stats.speed, seconds(turn.stats.first)))}</span>`;
  if (turn.note) html += `<span>${escapeHtml(t(turn.note))}</span>`;
  return html;
}

// Says it on the button for a moment. What was there is kept with the button: a second press within that moment would keep the word.
function flash(button, text) {
  clearTimeout(button.flashing);
  if (button.kept === undefined) button.kept = button.innerHTML;
  button.textContent = text;
  button.flashing = setTimeout(() => { button.innerHTML = button.kept; delete button.kept; }, 1200);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // no clipboard without https or localhost
    const area = document.createElement('textarea');
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  flash(button, t('copied'));
}

// Opens a field under the answer; `done` gets what was written.
function correctAnswer(element, turn, done) {
  if (element.querySelector('.correction')) return;
  const form = document.createElement('form');
  form.className = 'correction';
  form.innerHTML = `<textarea aria-label="${t('correctHint')}" placeholder="${t('correctHint')}"></textarea><div><button class="plain" type="button">${t('cancel')}</button><button class="solid">${t('save')}</button></div>`;
  const area = form.querySelector('textarea');
  area.value = turn.correction || turn.content;
  form.querySelector('.plain').addEventListener('click', () => form.remove());
  form.addEventListener('submit', (e) => { e.preventDefault(); if (area.value.trim()) { form.remove(); done(area.value.trim()); } });
  element.append(form);
  area.style.height = Math.min(320, area.scrollHeight + 4) + 'px';
  area.focus();
}
