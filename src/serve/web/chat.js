'use strict';

// The conversation, and the list of those before it.
let conversation = { id: randomId(), title: '', turns: [] };  // turns: {role, content, model?, stats?, error?, note?, tokens?, sources? …}
let conversations = [];  // {id, title, updated}, newest first
let running = null;      // the AbortController of the answer being made
let hasHistory = true;   // the server keeps one

const isNearEnd = () => $('scroll').scrollHeight - $('scroll').scrollTop - $('scroll').clientHeight < 90;
function scrollDown() { $('scroll').scrollTop = $('scroll').scrollHeight; }

function drawTurn(turn, index) {
  const element = document.createElement('div'), body = document.createElement('div'), foot = document.createElement('div');
  element.className = 'turn ' + turn.role;
  body.className = 'body';
  foot.className = 'foot';
  if (turn.role === 'user') {
    body.className = 'text';
    body.textContent = turn.content;
  } else {
    fillAnswer(body, turn);
  }
  foot.innerHTML = footHtml(turn, index, index === conversation.turns.length - 1);
  element.append(body, foot);
  return element;
}

function draw() {
  const log = $('log');
  log.textContent = '';
  if (!conversation.turns.length) {
    log.innerHTML = `<div class="empty"><svg width="92" height="92" viewBox="0 0 32 32" aria-hidden="true"><use href="#sedum"/></svg><h1>${t('greeting')}</h1><p>${t('intro')}</p>
      <div class="ideas">${t('ideas').map((idea) => `<button data-idea>${escapeHtml(idea)}</button>`).join('')}</div></div>`;
  }
  conversation.turns.forEach((turn, i) => log.append(drawTurn(turn, i)));
  scrollDown();
}

// While an answer comes only it is drawn again, once a frame; the view follows unless the reader has scrolled up.
let frame = 0;
function drawLast() {
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    const index = conversation.turns.length - 1, turn = conversation.turns[index], element = $('log').lastElementChild;
    if (!turn || turn.role !== 'assistant' || !element || !element.classList.contains('assistant')) return;
    const near = isNearEnd();
    fillAnswer(element.firstElementChild, turn);
    element.lastElementChild.innerHTML = footHtml(turn, index, true);
    if (near) scrollDown();
  });
}

function redraw(index) {
  const element = $('log').children[index];
  if (element) element.replaceWith(drawTurn(conversation.turns[index], index));
}

function setBusy(busy) {
  $('composer').classList.toggle('busy', busy);
  const label = t(busy ? 'stop' : 'send');
  $('send').setAttribute('aria-label', label);
  $('send').title = label;
  $('send').disabled = !busy && !$('input').value.trim();
}

function fitInput() {
  const input = $('input');
  input.style.height = 'auto';
  if (input.value) input.style.height = input.scrollHeight + 'px';
  if (!running) $('send').disabled = !input.value.trim();
}

async function saveConversation(which = conversation) {
  if (!which.turns.length) return;
  which.title = which.title || which.turns[0].content.replace(/\s+/g, ' ').slice(0, 60);
  const turns = which.turns.map(({ pending, showTokens, ...kept }) => kept);
  save('conversation', { id: which.id });
  if (!hasHistory) { save('turns', { title: which.title, turns }); return; }
  try {
    await api('PUT', 'sedum/conversations/' + which.id, { title: which.title, turns });
    await listConversations();
  } catch { /* the page works on without */ }
}

async function listConversations() {
  if (!hasHistory) return;
  try { conversations = (await api('GET', 'sedum/conversations')).data; } catch { return; }
  const list = $('conversations');
  list.textContent = '';
  for (const item of conversations) {
    const row = document.createElement('li'), open = document.createElement('button'), remove = document.createElement('button');
    open.textContent = item.title || t('untitled');
    open.dataset.open = item.id;
    if (item.id === conversation.id) open.setAttribute('aria-current', 'true');
    remove.dataset.remove = item.id;
    remove.title = t('remove');
    remove.setAttribute('aria-label', t('remove') + ': ' + item.title);
    remove.innerHTML = icon('binIcon');
    row.append(open, remove);
    list.append(row);
  }
  $('noHistory').hidden = conversations.length > 0;
}

async function openConversation(id) {
  if (running) running.abort();
  try {
    const { title, turns } = await api('GET', 'sedum/conversations/' + id);
    conversation = { id, title, turns: Array.isArray(turns) ? turns.filter((m) => m && typeof m.content === 'string') : [] };
    save('conversation', { id });
  } catch { return; }
  draw();
  listConversations();
}

function newConversation() {
  if (running) running.abort();
  conversation = { id: randomId(), title: '', turns: [] };
  save('conversation', { id: '' });
  draw();
  listConversations();
  if (matchMedia('(hover: hover)').matches) $('input').focus();
}

async function answer() {
  const mine = conversation, turn = { role: 'assistant', content: '', pending: true };
  const messages = conversationMessages(mine.turns);
  mine.turns.push(turn);
  draw();
  const controller = new AbortController();
  running = controller;
  setBusy(true);
  if (!settings.model) await loadModels();
  await stream(turn, settings.model, messages, controller, () => { if (conversation === mine) drawLast(); });
  if (running === controller) { running = null; setBusy(false); }
  if (conversation === mine) drawLast();
  saveConversation(mine);
}

function ask(text) {
  if (running || !text.trim()) return;
  $('input').value = '';
  fitInput();
  if (document.body.classList.contains('comparing')) { compare(text.trim()); return; }
  conversation.turns.push({ role: 'user', content: text.trim() });
  answer();
}

async function rate(index, rating, correction, button) {
  const turn = conversation.turns[index];
  turn.rated = rating;
  if (correction) turn.correction = correction;
  try {
    await api('POST', 'sedum/feedback', { model: turn.model || settings.model, messages: conversationMessages(conversation.turns.slice(0, index)), answer: turn.content, rating, ...(correction ? { correction } : {}) });
    redraw(index);
    saveConversation();
  } catch (e) {
    if (button) flash(button, e.message);
  }
}

$('log').addEventListener('click', (e) => {
  const button = e.target.closest('button');
  if (!button) return;
  const index = Number(button.dataset.index), turn = conversation.turns[index], what = button.dataset.do;
  if ('idea' in button.dataset) ask(button.textContent);
  else if ('copy' in button.dataset) copy(button.closest('.code').querySelector('code').textContent, button);
  else if ('cite' in button.dataset) {
    const source = button.closest('.turn').querySelector(`[data-source="${Number(button.dataset.cite)}"]`);
    if (source) { source.open = true; source.scrollIntoView({ block: 'nearest' }); }
  } else if (what === 'copy') copy(turn.content, button);
  else if (what === 'tokens') { turn.showTokens = !turn.showTokens; redraw(index); }
  else if (what === 'up' || what === 'down') rate(index, what, '', button);
  else if (what === 'correct') correctAnswer(button.closest('.turn'), turn, (text) => rate(index, 'down', text, button));
  else if (running) return;
  else if (what === 'again') { conversation.turns.pop(); answer(); }
  else if (what === 'edit') {
    conversation.turns.length = index;
    $('input').value = turn.content;
    draw();
    fitInput();
    $('input').focus();
  }
});
$('conversations').addEventListener('click', async (e) => {
  const button = e.target.closest('button');
  if (!button) return;
  if (button.dataset.open) { showSide(false); showCompare(false); openConversation(button.dataset.open); }
  if (button.dataset.remove && confirm(t('removeAsk'))) {
    try { await api('DELETE', 'sedum/conversations/' + button.dataset.remove); } catch { /* it is gone already */ }
    if (button.dataset.remove === conversation.id) newConversation();
    else listConversations();
  }
});
