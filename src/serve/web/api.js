'use strict';

// Settings, and everything that goes to the server and back.
const $ = (id) => document.getElementById(id);
const defaults = { system: '', temperature: 0.7, topP: 0.9, topK: 0, minP: 0, repetition: 1, seed: '', maxTokens: 1024, key: '', theme: 'auto', model: '', modelA: '', modelB: '', probabilities: true, documents: true };
const fieldNames = ['system', 'temperature', 'topP', 'topK', 'minP', 'repetition', 'seed', 'maxTokens', 'key', 'probabilities', 'documents'];
const language0 = (navigator.languages || [navigator.language || 'en'])[0].toLowerCase().startsWith('zh') ? 'zh' : 'en';
const load = (name, otherwise) => { try { return { ...otherwise, ...JSON.parse(localStorage.getItem('sedum.' + name)) }; } catch { return otherwise; } };
const save = (name, value) => { try { localStorage.setItem('sedum.' + name, JSON.stringify(value)); } catch { /* private window, or full: the page works on */ } };
let settings = load('settings', { ...defaults, language: language0 });
const t = (key) => (words[settings.language] || words.en)[key];
const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');

// This browser's own name: servers that others can reach keep a history for each.
const browser = load('browser', { id: randomId() });
save('browser', browser);

const headers = () => ({ 'Content-Type': 'application/json', 'X-Sedum-Browser': browser.id, ...(settings.key ? { Authorization: 'Bearer ' + settings.key } : {}) });

async function failureOf(response) {
  if (response.status === 401) return t('needKey');
  try { return (await response.json()).error.message; } catch { return 'HTTP ' + response.status; }
}

async function api(method, path, body) {
  const response = await fetch(path, { method, headers: headers(), body: body === undefined ? undefined : JSON.stringify(body) });
  if (!response.ok) throw new Error(await failureOf(response));
  return response.json();
}

// Calls onData with the text after "data: " of each event.
async function readEvents(body, onData) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value;
    for (let end; (end = buffer.indexOf('\n\n')) >= 0; buffer = buffer.slice(end + 2)) {
      const data = buffer.slice(0, end).split('\n').filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n');
      if (data) onData(data);
    }
  }
}

function requestBody(model, messages) {
  const body = { model, messages, stream: true, stream_options: { include_usage: true }, temperature: Number(settings.temperature), top_p: Number(settings.topP) || 1,
    max_tokens: Number(settings.maxTokens) || defaults.maxTokens };
  if (Number(settings.topK) > 0) body.top_k = Number(settings.topK);
  if (Number(settings.minP) > 0) body.min_p = Number(settings.minP);
  if (Number(settings.repetition) !== 1) body.repetition_penalty = Number(settings.repetition);
  if (String(settings.seed).trim() !== '') body.seed = Number(settings.seed);
  if (settings.probabilities) { body.logprobs = true; body.top_logprobs = 5; }
  if (!settings.documents) body.use_documents = false;
  return body;
}

const conversationMessages = (turns) => {
  const messages = turns.filter((m) => m.content && !m.error).map(({ role, content }) => ({ role, content }));
  if (settings.system.trim()) messages.unshift({ role: 'system', content: settings.system.trim() });
  return messages;
};

// Fills `turn` with the answer as it comes; `draw` is called after each piece.
async function stream(turn, model, messages, controller, draw) {
  const start = performance.now();
  let first = 0, last = 0, pieces = 0, usage = null, complete = false;
  turn.model = model;
  try {
    const response = await fetch('v1/chat/completions', { method: 'POST', headers: headers(), signal: controller.signal, body: JSON.stringify(requestBody(model, messages)) });
    if (!response.ok) throw new Error(await failureOf(response));
    await readEvents(response.body, (data) => {
      if (data === '[DONE]') { complete = true; return; }
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      if (event.usage) usage = event.usage;
      const choice = event.choices[0];
      if (!choice) return;
      const delta = choice.delta || {};
      if (delta.sources && delta.sources.length) turn.sources = delta.sources;
      if (choice.logprobs && choice.logprobs.content) {
        turn.tokens = turn.tokens || [];
        for (const token of choice.logprobs.content)  // short names: they are kept with the conversation
          turn.tokens.push({ b: token.bytes, p: token.logprob, top: token.top_logprobs.map((o) => [tokenName(o.bytes), o.logprob]) });
      }
      if (delta.content || delta.reasoning_content) {
        last = performance.now();
        if (!first) first = last;
        pieces++;
        turn.content += delta.content || '';
        if (delta.reasoning_content) turn.reasoning = (turn.reasoning || '') + delta.reasoning_content;
        draw();
      }
      if (choice.finish_reason === 'length') turn.note = 'cut';
    });
    if (!complete) throw new TypeError('cut off');
  } catch (e) {
    if (e.name === 'AbortError') turn.note = 'stopped';
    else turn.error = e instanceof TypeError ? t('unreachable') : e.message;
  }
  const tokens = usage ? usage.completion_tokens : pieces;
  if (first && tokens) {
    const speed = tokens > 1 && last > first ? (tokens - 1) / ((last - first) / 1000) : tokens / ((last - start) / 1000);
    turn.stats = { tokens, speed: speed < 10 ? speed.toFixed(1) : Math.round(speed), first: (first - start) / 1000 };
  }
  delete turn.pending;
}
