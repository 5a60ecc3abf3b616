'use strict';

// Markdown as models write it.
// Everything is escaped first; what follows only ever adds our own tags. Links may only lead to http(s) and mailto.
const escapeHtml = (s) => s.replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }[c]));

function inline(text) {
  const kept = [];  // code and links, out of reach of the rules below: a NUL, the index, a NUL
  const keep = (html) => '\u0000' + (kept.push(html) - 1) + '\u0000';
  let s = escapeHtml(text);
  s = s.replace(/(`+)([\s\S]*?[^`])\1(?!`)/g, (_, ticks, code) => keep('<code>' + code.trim() + '</code>'));
  s = s.replace(/\[([^\]\n]{1,300})\]\(((?:https?:\/\/|mailto:)[^\s()\u0000]+(?:\([^\s()\u0000]*\)[^\s()\u0000]*)*)\)/g, (_, label, url) => keep(`<a href="${url}" target="_blank" rel="noopener noreferrer">`) + label + keep('</a>'));
  s = s.replace(/(^|[\s(（])(https?:\/\/[^\s<>()\u0000，。；、）]+[^\s<>()\u0000.,;:!?，。；：！？、）])/g, (_, before, url) => before + keep(`<a href="${url}" target="_blank" rel="noopener noreferrer">${url}</a>`));
  s = s.replace(/\*\*\*(?=\S)([\s\S]*?\S)\*\*\*/g, '<strong><em>$1</em></strong>');
  s = s.replace(/\*\*(?=\S)([\s\S]*?\S)\*\*/g, '<strong>$1</strong>').replace(/__(?=\S)([\s\S]*?\S)__(?!\w)/g, '<strong>$1</strong>');
  s = s.replace(/\*(?=[^\s*])([^*]*?[^\s*])\*/g, '<em>$1</em>').replace(/(^|[^\w])_(?=\S)([^_]*?\S)_(?!\w)/g, '$1<em>$2</em>');
  s = s.replace(/~~(?=\S)([\s\S]*?\S)~~/g, '<del>$1</del>');
  s = s.replace(/ {2,}\n|\\\n|\n/g, '<br>');
  while (/\u0000\d+\u0000/.test(s)) s = s.replace(/\u0000(\d+)\u0000/g, (_, i) => kept[i]);
  return s;
}

function table(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((c) => inline(c.trim().replace(/\\\|/g, '|')));
  const row = (line, tag) => '<tr>' + cells(line).map((c) => `<${tag}>${c}</${tag}>`).join('') + '</tr>';
  return `<div class="table"><table><thead>${row(lines[0], 'th')}</thead><tbody>${lines.slice(2).map((l) => row(l, 'td')).join('')}</tbody></table></div>`;
}

const bullet = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const rule = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const isTable = (lines, i) => /\|/.test(lines[i]) && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[i + 1] || '') && /\|/.test(lines[i + 1]);

function list(lines, depth) {
  const first = bullet.exec(lines[0]);
  const ordered = /\d/.test(first[2]);
  const items = [];
  for (const line of lines) {
    const m = bullet.exec(line);
    if (m && m[1].length <= first[1].length) items.push([m[3]]);
    else items[items.length - 1].push(line.slice(Math.min(first[1].length + 2, line.length - line.trimStart().length)));
  }
  const tag = ordered ? 'ol' : 'ul', start = ordered && parseInt(first[2], 10) !== 1 ? ` start="${parseInt(first[2], 10)}"` : '';
  return `<${tag}${start}>` + items.map((item) => `<li>${blocks(item, depth + 1)}</li>`).join('') + `</${tag}>`;
}

function blocks(lines, depth = 0) {
  if (depth > 8) return inline(lines.join('\n'));
  let html = '';
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    const fence = /^\s*(`{3,}|~{3,})\s*([\w+#.-]*)/.exec(line);
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) { i++; continue; }
    if (fence) {
      const code = [];
      for (i++; i < lines.length && !lines[i].trim().startsWith(fence[1]); i++) code.push(lines[i]);
      i++;
      html += `<div class="code"><div class="bar"><span>${escapeHtml(fence[2])}</span><button data-copy>${t('copy')}</button></div><pre><code>${escapeHtml(code.join('\n'))}</code></pre></div>`;
    } else if (heading) {
      const level = Math.min(heading[1].length, 4);
      html += `<h${level}>${inline(heading[2])}</h${level}>`;
      i++;
    } else if (rule.test(line)) {
      html += '<hr>';
      i++;
    } else if (/^\s*>/.test(line)) {
      const quoted = [];
      for (; i < lines.length && /^\s*>/.test(lines[i]); i++) quoted.push(lines[i].replace(/^\s*> ?/, ''));
      html += `<blockquote>${blocks(quoted, depth + 1)}</blockquote>`;
    } else if (bullet.test(line)) {
      const items = [];
      const indent = bullet.exec(line)[1].length;
      for (; i < lines.length; i++) {
        const next = lines.slice(i + 1).find((l) => l.trim());
        const m = bullet.exec(lines[i]);
        if (!lines[i].trim() && !(next && (/^\s{2,}/.test(next) || bullet.test(next)))) break;
        if (lines[i].trim() && !m && !/^\s{2,}/.test(lines[i]) && !(lines[i - 1] || '').trim()) break;
        if (m && m[1].length <= indent && items.length && /\d/.test(m[2]) !== /\d/.test(bullet.exec(items[0])[2])) break;
        items.push(lines[i]);
      }
      html += list(items, depth);
    } else if (isTable(lines, i)) {
      const rows = [];
      for (; i < lines.length && lines[i].includes('|'); i++) rows.push(lines[i]);
      html += table(rows);
    } else {
      const text = [];
      for (; i < lines.length && lines[i].trim() && !/^\s*(`{3,}|~{3,}|>|#{1,6}\s)/.test(lines[i]) && !(text.length && bullet.test(lines[i])) && !rule.test(lines[i]) && !isTable(lines, i); i++) text.push(lines[i]);
      if (!text.length) text.push(lines[i++]);
      html += `<p>${inline(text.join('\n'))}</p>`;
    }
  }
  return html;
}
const markdown = (text) => blocks(text.replace(/\u0000/g, '').replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n'));
