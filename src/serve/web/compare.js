'use strict';

// Two models side by side: the same question, names hidden until the vote.
let comparison = null;  // {messages, models: [a, b], turns: [a, b], voted}

function showCompare(on) {
  document.body.classList.toggle('comparing', on);
  $('compare').setAttribute('aria-pressed', on);
  if (on) { drawComparison(); loadStandings(); }
}

function fillModelChoices(names) {
  for (const [id, setting, otherwise] of [['modelA', 'modelA', names[0]], ['modelB', 'modelB', names[1] || names[0]]]) {
    if (!names.includes(settings[setting])) settings[setting] = otherwise || '';
    $(id).innerHTML = names.map((n) => `<option${n === settings[setting] ? ' selected' : ''}>${escapeHtml(n)}</option>`).join('');
  }
  $('sameModel').hidden = settings.modelA !== settings.modelB;
}

function drawComparison() {
  const sides = $('sides');
  sides.textContent = '';
  $('vote').hidden = !comparison || comparison.voted || comparison.turns.some((turn) => turn.pending || turn.error);
  $('compareIntro').hidden = !!comparison;
  if (!comparison) return;
  const question = document.createElement('div');
  question.className = 'turn user question';
  question.innerHTML = '<div class="text"></div>';
  question.firstElementChild.textContent = comparison.messages[comparison.messages.length - 1].content;
  sides.append(question);
  comparison.turns.forEach((turn, i) => {
    const side = document.createElement('section'), title = document.createElement('h2'), body = document.createElement('div');
    side.className = 'side turn assistant' + (comparison.voted === 'ab'[i] ? ' won' : '');
    title.textContent = comparison.voted ? comparison.models[i] : t(i ? 'answerB' : 'answerA');
    fillAnswer(body, turn);
    side.append(title, body);
    sides.append(side);
  });
}

async function compare(text) {
  const models = [settings.modelA, settings.modelB];
  if (Math.random() < 0.5) models.reverse();
  const messages = conversationMessages([{ role: 'user', content: text }]);
  comparison = { messages, models, turns: models.map(() => ({ role: 'assistant', content: '', pending: true })), voted: '' };
  const mine = comparison, controller = new AbortController();
  running = controller;
  setBusy(true);
  drawComparison();
  let waiting = 0;
  const drawSoon = () => { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; if (comparison === mine) drawComparison(); }); };
  await Promise.all(mine.turns.map((turn, i) => stream(turn, models[i], messages, controller, drawSoon)));
  if (running === controller) { running = null; setBusy(false); }
  drawSoon();
}

async function castVote(winner) {
  const { messages, models, turns } = comparison;
  comparison.voted = winner;
  drawComparison();
  try {
    const { standings } = await api('POST', 'sedum/votes', { messages, model_a: models[0], model_b: models[1], answer_a: turns[0].content, answer_b: turns[1].content, winner });
    drawStandings(standings);
  } catch { /* the names are shown all the same */ }
}

async function loadStandings() {
  try { drawStandings((await api('GET', 'sedum/votes')).data); } catch { $('standings').hidden = true; }
}

function drawStandings(rows) {
  $('standings').hidden = !rows.length;
  $('standings').innerHTML = `<h2>${t('standings')}</h2><table><tbody>` + rows.map((r) =>
    `<tr><th>${escapeHtml(r.model)}</th><td>${Number(r.wins)} ${t('wins')}</td><td>${Number(r.losses)} ${t('losses')}</td><td>${Number(r.ties)} ${t('ties')}</td></tr>`).join('') + '</tbody></table>';
}

$('vote').addEventListener('click', (e) => { const button = e.target.closest('button'); if (button && comparison) castVote(button.dataset.vote); });
for (const id of ['modelA', 'modelB']) $(id).addEventListener('change', () => { settings[id] = $(id).value; $('sameModel').hidden = settings.modelA !== settings.modelB; save('settings', settings); });
$('compare').addEventListener('click', () => showCompare(!document.body.classList.contains('comparing')));
