'use strict';

// The frame around it: language, colours, settings, models, live figures.
function translate() {
  document.documentElement.lang = settings.language === 'zh' ? 'zh-CN' : 'en';
  document.querySelectorAll('[data-text]').forEach((e) => { e.textContent = t(e.dataset.text); });
  document.querySelectorAll('[data-placeholder]').forEach((e) => { e.placeholder = t(e.dataset.placeholder); });
  document.querySelectorAll('[data-label]').forEach((e) => { e.setAttribute('aria-label', t(e.dataset.label)); if (e.tagName === 'BUTTON') e.title = t(e.dataset.label); });
  $('language').textContent = t('other');
}

const darkQuery = matchMedia('(prefers-color-scheme: dark)');
function paint() {
  document.documentElement.dataset.theme = settings.theme === 'auto' ? (darkQuery.matches ? 'dark' : 'light') : settings.theme;
  for (const b of $('themes').children) b.setAttribute('aria-pressed', b.dataset.value === settings.theme);
}

function showSettings() {
  for (const name of fieldNames) {
    if ($(name).type === 'checkbox') $(name).checked = settings[name];
    else $(name).value = settings[name];
    if ($(name + 'Out')) $(name + 'Out').textContent = Number(settings[name]).toFixed(2);
  }
}

async function loadModels() {
  try {
    const names = (await api('GET', 'v1/models')).data.filter((m) => m.generates).map((m) => m.id);
    if (!names.includes(settings.model)) settings.model = names[0] || '';
    $('model').innerHTML = names.map((n) => `<option${n === settings.model ? ' selected' : ''}>${escapeHtml(n)}</option>`).join('');
    $('model').classList.toggle('alone', names.length < 2);
    $('model').tabIndex = names.length > 1 ? 0 : -1;
    fillModelChoices(names);
  } catch { /* the first message will say it */ }
}

let figures = null;  // of the last look: the speed is what came since
async function showFigures() {
  if (document.hidden) return;
  try {
    const now = await api('GET', 'sedum/stats');
    hasHistory = now.history;
    $('documentsField').hidden = !now.documents;
    const sum = (name) => now.engines.reduce((total, e) => total + e[name], 0);
    const tokens = sum('generated_tokens'), at = performance.now();
    const speed = figures ? Math.max(0, (tokens - figures.tokens) / ((at - figures.at) / 1000)) : 0;
    figures = { tokens, at };
    const pages = sum('pages');
    $('live').textContent = t('live')(sum('running'), sum('waiting'), speed < 10 ? speed.toFixed(1) : Math.round(speed), pages ? Math.round(100 * sum('pages_used') / pages) : 0);
  } catch { $('live').textContent = ''; }
}

function openPanel(open) {
  document.body.classList.toggle('open', open);
  $('settings').setAttribute('aria-expanded', open);
  (open ? $('close') : $('settings')).focus();
}
function showSide(open) {
  document.body.classList.toggle('side-open', open);
  $('menu').setAttribute('aria-expanded', open);
}

$('composer').addEventListener('submit', (e) => { e.preventDefault(); if (running) running.abort(); else ask($('input').value); });
$('input').addEventListener('input', fitInput);
$('input').addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && !e.shiftKey && !e.isComposing && e.keyCode !== 229) { e.preventDefault(); if (!running) ask($('input').value); }  // 229: an input method is at work
});
$('new').addEventListener('click', () => { showSide(false); showCompare(false); newConversation(); });
$('menu').addEventListener('click', () => showSide(!document.body.classList.contains('side-open')));
$('settings').addEventListener('click', () => openPanel(!document.body.classList.contains('open')));
$('close').addEventListener('click', () => openPanel(false));
$('veil').addEventListener('click', () => { if (document.body.classList.contains('open')) openPanel(false); showSide(false); });
document.addEventListener('keydown', (e) => {
  if (e.key !== 'Escape') return;
  hideTip();
  if (document.body.classList.contains('open')) openPanel(false);
  else if (document.body.classList.contains('side-open')) showSide(false);
  else if (running) running.abort();
});
for (const name of fieldNames) {
  $(name).addEventListener('input', () => {
    settings[name] = $(name).type === 'checkbox' ? $(name).checked : $(name).value;
    showSettings();
    save('settings', settings);
    if (name === 'key') { loadModels(); showFigures(); listConversations(); }
  });
}
$('model').addEventListener('change', () => { settings.model = $('model').value; save('settings', settings); });
$('reset').addEventListener('click', () => {
  const { language, theme, model, modelA, modelB, key } = settings;
  settings = { ...defaults, language, theme, model, modelA, modelB, key };
  showSettings();
  save('settings', settings);
});
$('themes').addEventListener('click', (e) => { if (e.target.dataset.value) { settings.theme = e.target.dataset.value; paint(); save('settings', settings); } });
$('theme').addEventListener('click', () => { settings.theme = document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark'; paint(); save('settings', settings); });
$('language').addEventListener('click', () => {
  settings.language = settings.language === 'zh' ? 'en' : 'zh';
  save('settings', settings);
  translate();
  showFigures();
  if (!running) { draw(); drawComparison(); setBusy(false); }
  listConversations();
});
darkQuery.addEventListener('change', paint);

async function begin() {
  paint();
  translate();
  showSettings();
  draw();
  fitInput();
  setBusy(false);
  loadModels();
  await showFigures();
  setInterval(showFigures, 3000);
  if (!hasHistory) {
    document.body.classList.add('no-history');
    const kept = load('turns', { title: '', turns: [] });
    if (kept.turns.length) { conversation = { ...conversation, ...kept }; draw(); }
    return;
  }
  await listConversations();
  const linked = /^#c=([\w-]{1,64})$/.exec(location.hash);  // a link to one of them
  const last = linked ? linked[1] : load('conversation', { id: '' }).id;
  if (last && !conversation.turns.length && conversations.some((c) => c.id === last)) openConversation(last);
}
begin();
if (matchMedia('(hover: hover)').matches) $('input').focus();
