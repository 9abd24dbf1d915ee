// The page of the cluster: nodes, whose users belong to which, and who would
// take them over. It asks again every two seconds.

const EVERY = 2000; // ms
const COLOURS = ['#4f7df3', '#e0793b', '#2a9d6f', '#b45fd0', '#c9a227', '#d14d72', '#3aa7b8', '#7c8a3c', '#8b6f5a', '#5f6b8a'];

const $ = (id) => document.getElementById(id);
const svg = (name, attributes) => {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  return e;
};
const percent = (share) => `${Math.round(100 * share)} %`;
const colour = (i) => COLOURS[i % COLOURS.length];

let view = null;
let gone = ''; // the node that is taken away in the picture
const rows = new Map(); // by node; kept, so that the focus is

async function load() {
  try {
    let res = await fetch('/cluster.json');
    if (res.status === 401 && (await fetch('/refresh', { method: 'POST' })).ok) res = await fetch('/cluster.json');
    if (res.status === 401) return say('Log in to the chat first, then come back.');
    if (!res.ok) throw new Error(res.statusText);
    view = await res.json();
    draw();
  } catch {
    say('This node does not answer. Trying again …');
  }
}

function say(text) {
  if ($('state').textContent !== text) $('state').textContent = text; // told once
}

function draw() {
  const { nodes } = view;
  $('view').hidden = nodes.length === 0;
  const sessions = nodes.reduce((sum, n) => sum + n.sessions, 0);
  say(nodes.length === 0 ? 'The nodes are not known now.' : `${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}, ${sessions} ${sessions === 1 ? 'session' : 'sessions'}. This is ${view.node}.`);
  if (!nodes.some((n) => n.name === gone)) gone = '';
  drawRing();
  for (const [name, row] of rows) {
    if (nodes.some((n) => n.name === name)) continue;
    row.tr.remove();
    rows.delete(name);
  }
  nodes.forEach(drawRow);
}

function drawRow(node, i) {
  let row = rows.get(node.name);
  if (!row) {
    row = { tr: document.createElement('tr'), swatch: document.createElement('span'), sessions: document.createElement('td'),
      share: document.createElement('td'), goes: document.createElement('td'), button: document.createElement('button'), text: document.createElement('div') };
    const head = document.createElement('th');
    head.scope = 'row';
    row.swatch.className = 'swatch';
    head.append(row.swatch, node.name);
    row.sessions.className = row.share.className = 'number';
    row.button.type = 'button';
    row.button.textContent = 'Show';
    row.button.setAttribute('aria-label', `Show what moves if ${node.name} goes`);
    row.button.addEventListener('click', () => { gone = gone === node.name ? '' : node.name; draw(); });
    row.text.className = 'soft small';
    row.goes.append(row.button, row.text);
    row.tr.append(head, row.sessions, row.share, row.goes);
    rows.set(node.name, row);
  }
  row.swatch.style.background = colour(i);
  row.sessions.textContent = node.sessions;
  row.share.textContent = percent(node.share);
  row.button.setAttribute('aria-pressed', String(gone === node.name));
  row.button.hidden = node.without.length === 0;
  row.text.textContent = goesTo(i);
  if ($('nodes').children[i] !== row.tr) $('nodes').insertBefore(row.tr, $('nodes').children[i] ?? null);
}

// goesTo says who takes over from the i-th node.
function goesTo(i) {
  const { ring, nodes } = view;
  const to = new Map();
  nodes[i].without.forEach((owner, slice) => {
    if (ring[slice] === i) to.set(owner, (to.get(owner) ?? 0) + 1);
  });
  if (to.size === 0) return 'nobody is left';
  return [...to].sort((a, b) => b[1] - a[1]).map(([owner, n]) => `${percent(n / ring.length)} to ${nodes[owner].name}`).join(', ');
}

// drawRing draws a piece for each run of slices with the same owner.
function drawRing() {
  const { ring, nodes } = view;
  const i = nodes.findIndex((n) => n.name === gone);
  const now = i < 0 ? ring : nodes[i].without;
  const at = (slice, r) => {
    const a = (2 * Math.PI * slice) / now.length - Math.PI / 2;
    return `${(r * Math.cos(a)).toFixed(2)} ${(r * Math.sin(a)).toFixed(2)}`;
  };
  const pieces = [];
  for (let from = 0; from < now.length;) {
    let to = from + 1;
    while (to < now.length && now[to] === now[from] && ring[to] === ring[from]) to++;
    const end = Math.min(to, from + now.length - 0.01); // an arc of a whole circle would be none
    const large = end - from > now.length / 2 ? 1 : 0;
    const p = svg('path', {
      d: `M ${at(from, 100)} A 100 100 0 ${large} 1 ${at(end, 100)} L ${at(end, 62)} A 62 62 0 ${large} 0 ${at(from, 62)} Z`,
      fill: colour(now[from]),
    });
    if (now[from] !== ring[from]) p.classList.add('moving');
    pieces.push(p);
    from = to;
  }
  const middle = svg('text', {});
  middle.textContent = i < 0 ? `${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}` : `without ${gone}`;
  $('ring').replaceChildren(...pieces, middle);
  $('caption').textContent = i < 0
    ? nodes.map((n) => `${n.name} ${percent(n.share)}`).join(', ')
    : `If ${gone} goes: ${goesTo(i)}. Nothing else moves.`;
}

await load();
setInterval(() => { if (!document.hidden) load(); }, EVERY);
document.addEventListener('visibilitychange', () => { if (!document.hidden) load(); });
