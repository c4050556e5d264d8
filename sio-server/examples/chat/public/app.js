// Switchboard, the demo page: the chat client. Plain DOM and the real socket.io-client (the global `io`), nothing else.
// What is said between this file and the server is in ../CONTRACT.md. Text from others only ever becomes text nodes.
'use strict';

// ---- What the page knows beforehand ----

const BOARDS = [
  { nsp: '/chat', home: '#general', ideas: ['#general', '#design', '#random'] },
  { nsp: '/support', home: '#help-desk', ideas: ['#help-desk', '#billing'] },
];
const ROOM = /^#[a-z0-9-]{1,24}$/;
const NAME_MAX = 24;
const TEXT_MAX = 2000;
const IMAGE_MAX = 600_000; // the server takes 700 000; its max_http_buffer_size is 1e6, and polling adds a third for base64
const EDGE_MAX = 1600;
const ACK_MS = 10_000;
const KEEP_ITEMS = 400;
const KEEP_PACKETS = 160;

const $ = (id) => document.getElementById(id);
const calm = matchMedia('(prefers-reduced-motion: reduce)');

const app = { name: '', manager: null, lobby: null, server: '', clients: 0, boards: new Map(), board: null, attachment: null };
const link = { state: 'idle', since: 0, attempt: 0, retryAt: 0, upgradeMs: 0, rtt: null, outBytes: 0, inBytes: 0, outCount: 0, inCount: 0 };

// ---- Small helpers ----

function el(tag, props, ...kids) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (key === 'class') node.className = value;
    else if (key === 'data') Object.assign(node.dataset, value);
    else if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...solid(kids));
  return node;
}

/// The children that are there: `null` and `false` stand for none.
function solid(kids) {
  return kids.flat().filter((kid) => kid != null && kid !== false);
}

function icon(name) {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(ns, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/// Makes the children of `parent` be `items`, in order, keeping the nodes (and the focus) of those that stay.
function reconcile(parent, items, keyOf, make, update) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  const nodes = items.map((item) => {
    const key = keyOf(item);
    const node = old.get(key) ?? make(item);
    old.delete(key);
    node.dataset.key = key;
    update(node, item);
    return node;
  });
  for (const node of old.values()) node.remove();
  nodes.forEach((node, i) => {
    if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null);
  });
}

/// Sets text only where it differs, so that nothing is announced or repainted twice.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 100_000) return `${(n / 1000).toFixed(1)} kB`;
  if (n < 1_000_000) return `${Math.round(n / 1000)} kB`;
  return `${(n / 1e6).toFixed(2)} MB`;
}

const plural = (n, one, many = `${one}s`) => `${n} ${n === 1 ? one : many}`;
const millis = (ms) => (ms < 10 ? `${Math.max(0.1, ms).toFixed(1)} ms` : `${Math.round(ms)} ms`);
const clock = (at) => new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
const shortId = (id) => (id && id.length > 8 ? `${id.slice(0, 6)}…` : id ?? '');
const isRoom = (key) => key.startsWith('#');

function paintAvatar(node, person) {
  const name = person.name || '?';
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0), 16777619) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 13), 0x5bd1e995) >>> 0;
  node.style.setProperty('--hue', String(((hash >>> 15) % 24) * 15));
  const words = name.split(/\s+/).filter(Boolean);
  const letters = [...(words[0] ?? '?')][0] + (words.length > 1 ? [...words.at(-1)][0] : '');
  setText(node, letters.toUpperCase());
}

function avatar(person) {
  const node = el('span', { class: 'avatar', 'aria-hidden': 'true' });
  paintAvatar(node, person);
  return node;
}

function remember(key, value) {
  try { sessionStorage.setItem(key, value); } catch { /* storage may be forbidden: then nothing is remembered */ }
}
function recall(key) {
  try { return sessionStorage.getItem(key) ?? ''; } catch { return ''; }
}

/// Announces to screen readers, whatever is on view.
function announce(text) {
  $('live').textContent = text;
}

let renderQueued = false;
/// Draws again soon. Not requestAnimationFrame: a hidden tab must keep its title up to date.
function render() {
  if (renderQueued) return;
  renderQueued = true;
  queueMicrotask(() => { renderQueued = false; draw(); });
}

// ---- The connection: one Manager, one Engine.IO session, several namespaces ----

function connect(name) {
  app.name = name;
  link.state = 'connecting';
  link.since = performance.now();
  const manager = new io.Manager(location.origin, { autoConnect: false, reconnectionDelay: 800, reconnectionDelayMax: 6000 });
  app.manager = manager;

  // The client does not say when it will try again; its backoff knows.
  const backoff = manager.backoff;
  if (backoff && typeof backoff.duration === 'function') {
    const duration = backoff.duration.bind(backoff);
    backoff.duration = () => {
      const ms = duration();
      link.retryAt = Date.now() + ms;
      setLink('offline');
      return ms;
    };
  }
  manager.on('open', () => setLink(manager.engine.transport.name));
  manager.on('close', () => { link.retryAt = 0; setLink('offline'); });
  manager.on('error', () => { if (link.state !== 'offline') setLink('offline'); });
  manager.on('reconnect_attempt', (attempt) => {
    link.attempt = attempt;
    link.retryAt = 0;
    setLink('connecting');
    queueMicrotask(() => watchEngine(manager.engine)); // each attempt has a new engine, made in this same turn
  });
  manager.on('reconnect', () => { link.attempt = 0; });

  app.lobby = manager.socket('/');
  app.lobby.on('overview', (o) => {
    app.server = String(o?.server ?? '');
    app.clients = Number(o?.clients ?? 0);
    for (const n of o?.namespaces ?? []) {
      const board = app.boards.get(n?.name);
      if (board) board.online = Number(n.online) || 0;
    }
    render();
  });

  for (const def of BOARDS) app.boards.set(def.nsp, makeBoard(def));
  app.board = app.boards.get('/chat');
  app.lobby.connect();
  watchEngine(manager.engine);
  enter(app.board);
  document.body.dataset.screen = 'board';
  $('door').hidden = true;
  $('app').hidden = false;
  $('text').focus({ preventScroll: true });
  render();
}

function setLink(state) {
  if (link.state === state) { render(); return; }
  link.state = state;
  link.since = performance.now();
  document.body.dataset.state = state;
  if (state === 'offline') announce('Connection lost');
  else if (state === 'websocket' || state === 'polling') announce(`Connected over ${state}`);
  render();
}

const watched = new WeakSet();
function watchEngine(engine) {
  if (!engine || watched.has(engine)) return;
  watched.add(engine);
  const born = performance.now();
  note(`connecting over ${engine.transport?.name ?? 'the first transport'}`);
  engine.on('packet', (p) => wire('in', p));
  engine.on('packetCreate', (p) => wire('out', p));
  engine.on('upgrading', (t) => { note(`${t.name} answered the probe: upgrading`); setLink('upgrading'); });
  engine.on('upgrade', (t) => {
    link.upgradeMs = performance.now() - born;
    note(`upgraded to ${t.name} after ${millis(link.upgradeMs)}`);
    setLink(t.name);
  });
  engine.on('upgradeError', () => { note('no upgrade: staying with polling'); if (engine.readyState === 'open') setLink(engine.transport.name); });
  engine.on('close', (reason) => note(`closed: ${reason}`, true));
}

/// Tears the line as a lost network would; the client finds its own way back.
function cutLine() {
  app.manager?.engine?.close();
}

function retryNow() {
  app.manager.disconnect(); // drops the pending timer
  for (const socket of [app.lobby, ...[...app.boards.values()].map((b) => b.socket)]) {
    if (socket?.active) { app.manager.open(); break; }
  }
  link.retryAt = 0;
  setLink('connecting');
  watchEngine(app.manager.engine);
}

function setMode(mode) {
  const transports = mode === 'auto' ? ['polling', 'websocket'] : [mode];
  Object.assign(app.manager.opts, { transports, upgrade: mode === 'auto' });
  note(`transports: ${transports.join(', ')}`);
  cutLine();
}

// ---- A board: one namespace ----

function makeBoard(def) {
  return {
    ...def, socket: null, state: 'off', error: '', id: '', online: 0, since: 0,
    people: new Map(), rooms: new Map(), joined: new Set(), threads: new Map(), receipts: new Map(), key: def.home,
  };
}

function enter(board) {
  board.state = 'connecting';
  board.error = '';
  if (!board.socket) {
    board.socket = app.manager.socket(board.nsp, { auth: { name: app.name } });
    listen(board);
  }
  board.socket.connect();
  render();
}

function quit(board) {
  board.socket?.disconnect();
  board.joined.clear();
  render();
}

function listen(board) {
  const { socket } = board;
  const on = (event, f) => socket.on(event, (...args) => { try { f(...args); } finally { render(); } });

  on('connect', () => {
    const before = board.id;
    const back = [...board.joined];
    board.state = 'on';
    board.id = socket.id;
    if (before && socket.recovered) {
      for (const room of back) addNote(board, room, 'Back: the server kept the session, nothing was missed');
      return;
    }
    if (before && before !== board.id) {
      for (const room of back) addNote(board, room, `Back with a new id, ${shortId(board.id)}`);
    }
    board.joined.clear();
    const rooms = back.length ? back : before ? [] : [board.home];
    for (const room of rooms) join(board, room, { quiet: back.length > 0 });
  });
  on('connect_error', (error) => {
    if (socket.active) return; // the connection is being tried again; the line shows it
    board.state = 'refused';
    board.error = error.message;
    if (/name/i.test(error.message)) backToDoor(error.message);
  });
  on('disconnect', (reason) => {
    if (board.state !== 'on') return;
    board.state = socket.active ? 'waiting' : 'off';
    board.people.clear();
    board.rooms.clear();
    for (const room of board.joined) addNote(board, room, reason === 'io client disconnect' ? `You left ${board.nsp}` : `Line lost (${reason})`);
  });

  on('presence', (p) => {
    board.people = new Map((p?.people ?? []).map((one) => [String(one.id), { id: String(one.id), name: String(one.name), node: one.node ? String(one.node) : '' }]));
    board.rooms = new Map((p?.rooms ?? []).map((room) => [String(room.name), (room.members ?? []).map(String)]));
    board.online = board.people.size;
  });
  on('joined', (room, who) => addNote(board, room, `${who.name} joined`));
  on('left', (room, who) => { addNote(board, room, `${who.name} left`); stopTyping(board, room, who.id); });
  on('typing', (to, who) => startTyping(board, isRoom(to) ? to : who.id, who));
  on('receipt', (r) => {
    for (const thread of board.threads.values()) {
      const item = thread.items.find((one) => one.mine && one.id === r.id);
      if (item) { item.receipt = r; touch(item); return; }
    }
    board.receipts.set(r.id, r); // came before the acknowledgement
  });
  on('said', (message, ack) => {
    receive(board, message, { text: String(message.text) });
    ack?.(socket.id);
  });
  on('image', (message, data, ack) => {
    receive(board, message, { image: showable(message.image, data) });
    ack?.(socket.id);
  });
  // From outside: a process that is no server has emitted this through Redis.
  on('notice', (text) => {
    addNote(board, board.key, `From outside: ${String(text).slice(0, 500)}`);
    announce(`From outside: ${String(text).slice(0, 500)}`);
  });
  on('rollcall', (who, ack) => {
    ack?.({ id: socket.id, transport: app.manager.engine.transport.name, visible: document.visibilityState === 'visible' });
  });
}

/// Emits with an acknowledgement; resolves to the reply and how long it took.
function ask(board, event, ...args) {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    board.socket.timeout(ACK_MS).emit(event, ...args, (error, reply) => {
      if (error) { reject(error); return; }
      const ms = performance.now() - start;
      link.rtt = ms;
      resolve({ reply: reply ?? { ok: false, error: 'The server acknowledged without an answer' }, ms });
    });
  }).finally(render);
}

async function join(board, room, { quiet = false, show = false } = {}) {
  try {
    const { reply, ms } = await ask(board, 'join', room);
    if (!reply.ok) return reply.error;
    board.joined.add(room);
    if (!quiet) addNote(board, room, `You joined, acknowledged in ${millis(ms)}`);
    if (show) open(board, room);
    return '';
  } catch {
    return 'The server did not acknowledge that';
  } finally { render(); }
}

async function leave(board, room) {
  try {
    const { reply } = await ask(board, 'leave', room);
    if (!reply.ok) return complain(reply.error);
    board.joined.delete(room);
    addNote(board, room, 'You left');
  } catch {
    complain('The server did not acknowledge that');
  } finally { render(); }
}

async function rollCall(board, room) {
  const item = { kind: 'roll', at: Date.now(), room, reply: null, ms: 0, error: '' };
  push(board, threadOf(board, room), item);
  try {
    const { reply, ms } = await ask(board, 'rollcall', room);
    item.ms = ms;
    if (reply.ok) item.reply = reply; else item.error = reply.error;
  } catch {
    item.error = 'The server did not acknowledge that';
  }
  touch(item);
}

// ---- Threads: what was said in a room or with one person ----

function threadOf(board, key) {
  let thread = board.threads.get(key);
  if (!thread) {
    thread = { key, peer: isRoom(key) ? null : board.people.get(key) ?? { id: key, name: 'Somebody' }, items: [], unread: 0, draft: '', typing: new Map() };
    board.threads.set(key, thread);
    if (thread.peer) push(board, thread, { kind: 'note', at: Date.now(), text: `Emitted to room ${shortId(key)}, the one every socket is in by itself` });
  }
  return thread;
}

const currentThread = () => threadOf(app.board, app.board.key);
/// Whether somebody looking at the page can see the messages of this thread.
function onView(board, thread) {
  if (board !== app.board || thread.key !== board.key || document.hidden) return false;
  return $('talk').offsetParent !== null;
}

let serial = 0;
function push(board, thread, item) {
  item.key = String(++serial);
  thread.items.push(item);
  if (thread.items.length > KEEP_ITEMS) {
    const gone = thread.items.shift();
    if (gone.image?.url) URL.revokeObjectURL(gone.image.url);
    gone.node?.remove();
  }
  if (board === app.board && thread.key === board.key) appendToLog(thread, item);
}

function addNote(board, key, text) {
  push(board, threadOf(board, key), { kind: 'note', at: Date.now(), text });
}

function receive(board, message, body) {
  const from = { id: String(message.from.id), name: String(message.from.name) };
  const key = isRoom(message.to) ? message.to : from.id;
  const thread = threadOf(board, key);
  if (thread.peer) thread.peer = from;
  stopTyping(board, key, from.id);
  push(board, thread, { kind: 'msg', mine: false, id: message.id, at: message.at, from, ...body });
  const what = body.image ? 'an image' : body.text;
  announce(`${from.name}${thread.peer ? ', directly' : ` in ${key}`}: ${what}`);
  if (onView(board, thread)) return;
  thread.unread += 1;
  if (thread.peer && !(board === app.board && key === board.key)) toast(board, key, from, what);
}

/// Sends `body` to the open thread; the item carries its own state, from sending to received.
async function send(board, key, body, again) {
  const thread = threadOf(board, key);
  const item = again ?? { kind: 'msg', mine: true, at: Date.now(), board, to: key, from: { id: board.id, name: app.name }, ...body };
  Object.assign(item, { status: 'sending', error: '' });
  if (again) touch(item); else push(board, thread, item);
  scrollDown();
  try {
    const { reply, ms } = item.image
      ? await ask(board, 'image', key, item.image.meta, item.image.data)
      : await ask(board, 'say', key, item.text);
    if (reply.ok) {
      Object.assign(item, { status: 'acked', id: reply.id, at: reply.at, reach: reply.reach, ms, receipt: board.receipts.get(reply.id) });
      board.receipts.delete(reply.id);
      if (item.image) item.image.data = null; // sent and acknowledged: the thumbnail keeps its own copy
    } else {
      Object.assign(item, { status: 'refused', error: reply.error });
    }
  } catch {
    item.status = 'failed';
  }
  touch(item);
}

// ---- Typing: volatile, forgotten after a while ----

let typedAt = 0;
function tellTyping() {
  const { board } = app;
  const now = Date.now();
  if (now - typedAt < 2000 || !canSend(board, currentThread())) return;
  typedAt = now;
  board.socket.volatile.emit('typing', board.key);
}

function startTyping(board, key, who) {
  const thread = threadOf(board, key);
  clearTimeout(thread.typing.get(who.id)?.timer);
  thread.typing.set(who.id, { name: String(who.name), timer: setTimeout(() => { stopTyping(board, key, who.id); render(); }, 3500) });
}

function stopTyping(board, key, id) {
  const thread = board.threads.get(key);
  clearTimeout(thread?.typing.get(id)?.timer);
  thread?.typing.delete(id);
}

// ---- Images: scaled here, sent as bytes ----

const blobOf = (canvas, type, quality) => new Promise((resolve) => canvas.toBlob(resolve, type, quality));

/// Makes an image that is small enough to send out of any the browser can read. A small GIF stays as it is: it may move.
async function prepare(file) {
  let bitmap;
  try { bitmap = await createImageBitmap(file); } catch { throw new Error('This file cannot be read as an image'); }
  const stem = (file.name || 'image').replace(/\.[^.]*$/, '').slice(0, 80) || 'image';
  const done = async (blob, width, height, ext) => ({
    meta: { name: `${stem}.${ext}`, type: blob.type, width, height },
    data: await blob.arrayBuffer(), url: URL.createObjectURL(blob), size: blob.size, was: file.size,
  });
  try {
    if (file.type === 'image/gif' && file.size <= IMAGE_MAX) return await done(file, bitmap.width, bitmap.height, 'gif');
    for (const edge of [EDGE_MAX, 1200, 800, 500]) {
      const scale = Math.min(1, edge / Math.max(bitmap.width, bitmap.height));
      const canvas = document.createElement('canvas');
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      const pen = canvas.getContext('2d');
      pen.imageSmoothingQuality = 'high';
      pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      for (const [type, quality] of [['image/webp', 0.86], ['image/webp', 0.7], ['image/jpeg', 0.8], ['image/jpeg', 0.6]]) {
        if (type === 'image/jpeg') { // no transparency there: put white behind
          pen.globalCompositeOperation = 'destination-over';
          pen.fillStyle = '#fff';
          pen.fillRect(0, 0, canvas.width, canvas.height);
        }
        const blob = await blobOf(canvas, type, quality);
        if (blob && blob.type === type && blob.size <= IMAGE_MAX) return await done(blob, canvas.width, canvas.height, type === 'image/webp' ? 'webp' : 'jpg');
      }
    }
  } finally { bitmap.close(); }
  throw new Error('This image cannot be made small enough to send');
}

/// Received bytes as something an <img> can show. Only the four types of the contract are believed.
function showable(meta, data) {
  const type = /^image\/(jpeg|png|webp|gif)$/.test(meta?.type) ? meta.type : 'image/png';
  const side = (n) => Math.min(10_000, Math.max(1, Math.round(Number(n)) || 1));
  const blob = new Blob([data], { type });
  return { meta: { name: String(meta?.name ?? 'image'), type, width: side(meta?.width), height: side(meta?.height) }, url: URL.createObjectURL(blob), size: blob.size };
}

async function attach(file) {
  if (!file || !canSend(app.board, currentThread())) return;
  detach();
  composerError('');
  try {
    app.attachment = await prepare(file);
    const { meta, size, was, url } = app.attachment;
    $('attach-img').src = url;
    $('attach-name').textContent = meta.name;
    $('attach-info').textContent = `${meta.width} × ${meta.height}, ${bytes(size)}${was > size * 1.1 ? ` (scaled from ${bytes(was)})` : ''}`;
    $('attach').hidden = false;
    $('send').focus();
  } catch (error) {
    composerError(error.message);
  }
  render();
}

/// Forgets the attachment. Its URL lives on in the message if it was sent.
function detach(sent = false) {
  if (app.attachment && !sent) URL.revokeObjectURL(app.attachment.url);
  app.attachment = null;
  $('attach').hidden = true;
  $('attach-img').removeAttribute('src');
  $('pick').value = '';
}

// ---- The wire panel: Engine.IO packets as they are ----

const ENGINE = { open: '0', close: '1', ping: '2', pong: '3', message: '4', upgrade: '5', noop: '6' };
const SOCKET = ['CONNECT', 'DISCONNECT', 'EVENT', 'ACK', 'CONNECT_ERROR', 'BINARY_EVENT', 'BINARY_ACK'];
const utf8 = new TextEncoder();

/// Takes the front of a Socket.IO packet apart, as far as it is worth a label.
function readPacket(text) {
  const m = /^([0-6])(?:(\d+)-)?(\/[^,]*,)?(\d*)(.*)$/s.exec(text);
  if (!m) return { kind: 'message', nsp: '/', detail: '' };
  const [, type, attachments, nsp, ack, data] = m;
  const event = /^\["((?:[^"\\]|\\.){1,40})"/.exec(data)?.[1] ?? '';
  const detail = [type === '2' || type === '5' ? event : '', ack && (type === '3' || type === '6' ? `answers ${ack}` : `wants ack ${ack}`), attachments && plural(+attachments, 'attachment')];
  return { kind: SOCKET[+type], nsp: nsp ? nsp.slice(0, -1) : '/', detail: detail.filter(Boolean).join(' · ') };
}

function wire(direction, packet) {
  const { type, data } = packet;
  const binary = data != null && typeof data !== 'string';
  const text = binary ? '' : `${ENGINE[type] ?? '?'}${data ?? ''}`;
  const size = binary ? data.byteLength ?? data.size ?? 0 : utf8.encode(text).length;
  link[`${direction}Bytes`] += size;
  link[`${direction}Count`] += 1;
  const beat = type === 'ping' || type === 'pong';
  let row = { kind: type.toUpperCase(), nsp: '', detail: '' };
  if (binary) row = { kind: 'BINARY', nsp: '', detail: 'attachment' };
  else if (type === 'message') row = readPacket(data);
  if (type === 'open') row.detail = 'handshake';
  if (beat) row.detail = 'heartbeat';
  const shown = binary ? hex(data) : text.length > 1200 ? `${text.slice(0, 1200)}…` : text;
  addRow(el('li', { class: `pkt pkt-${direction}${beat ? ' pkt-beat' : ''}`, data: { kind: row.kind, nsp: row.nsp } },
    el('button', { type: 'button', class: 'pkt-main', 'aria-expanded': 'false', onclick: (e) => unfold(e.currentTarget) },
      el('span', { class: 'pkt-dir' }, el('span', { class: 'vh' }, direction === 'in' ? 'received' : 'sent'), el('span', { 'aria-hidden': 'true' }, direction === 'in' ? '↓' : '↑')),
      el('span', { class: 'pkt-kind' }, row.kind),
      row.nsp ? el('span', { class: 'pkt-nsp' }, row.nsp) : null,
      el('span', { class: 'pkt-detail' }, row.detail),
      el('span', { class: 'pkt-size' }, bytes(size)),
      el('code', { class: 'pkt-raw' }, shown))));
  runDot(direction, size, binary, beat);
  render();
}

function hex(data) {
  if (!(data instanceof ArrayBuffer) && !ArrayBuffer.isView(data)) return 'bytes';
  const view = data instanceof ArrayBuffer ? new Uint8Array(data, 0, Math.min(24, data.byteLength)) : new Uint8Array(data.buffer, data.byteOffset, Math.min(24, data.byteLength));
  return `${[...view].map((b) => b.toString(16).padStart(2, '0')).join(' ')}${data.byteLength > 24 ? ' …' : ''}`;
}

function unfold(button) {
  button.setAttribute('aria-expanded', String(button.getAttribute('aria-expanded') !== 'true'));
}

function note(text, bad = false) {
  addRow(el('li', { class: `pkt pkt-note${bad ? ' pkt-bad' : ''}` }, el('span', null, text)));
}

function addRow(row) {
  const log = $('wire-log');
  log.append(row);
  while (log.children.length > KEEP_PACKETS) log.firstChild.remove();
  if (stuck.wire) log.scrollTop = log.scrollHeight;
}

/// One packet as a dot that runs along the line at the top.
function runDot(direction, size, binary, beat) {
  const track = $('link-dots');
  if (calm.matches || document.hidden || track.children.length > 14 || !track.animate) return;
  const dot = el('i', { class: `dot dot-${direction}${binary ? ' dot-binary' : ''}${beat ? ' dot-beat' : ''}` });
  const d = Math.round(Math.min(15, 4 + Math.log10(Math.max(10, size)) * 1.8));
  dot.style.width = dot.style.height = `${d}px`;
  track.append(dot);
  const way = direction === 'out' ? ['0%', '100%'] : ['100%', '0%'];
  dot.animate({ left: way, opacity: [0, 1, 1, 0] }, { duration: 620 + d * 30, easing: 'cubic-bezier(.45,.1,.35,1)' }).finished.then(() => dot.remove(), () => dot.remove());
}

// ---- Drawing ----

function canSend(board, thread) {
  if (!board || board.state !== 'on') return false;
  return isRoom(thread.key) ? board.joined.has(thread.key) : board.people.has(thread.key) && thread.key !== board.id;
}

function draw() {
  if (!app.manager) return;
  drawLink();
  drawRail();
  drawTalk();
  drawPeople();
  let unread = 0;
  for (const board of app.boards.values()) for (const t of board.threads.values()) unread += t.unread;
  document.title = unread ? `(${unread}) Switchboard` : 'Switchboard';
  drawBadge($('tab-badge'), unread);
}

function drawBadge(node, n) {
  node.hidden = n === 0;
  setText(node, n > 99 ? '99+' : String(n));
}

function drawLink() {
  const { state } = link;
  const wait = Math.max(0, Math.ceil((link.retryAt - Date.now()) / 1000));
  const words = {
    connecting: link.attempt ? `reconnecting, attempt ${link.attempt}` : 'connecting',
    polling: 'polling',
    upgrading: 'upgrading to websocket',
    websocket: 'websocket',
    offline: link.retryAt ? (wait ? `offline, retry in ${wait} s` : 'offline, retrying') : 'offline',
  };
  setText($('pill-text'), words[state] ?? state);
  $('retry').hidden = state !== 'offline';
  $('cut').hidden = !['polling', 'websocket', 'upgrading'].includes(state);
  setText($('link-me'), app.name);
  setText($('link-server'), app.server || 'server');
  setText($('link-count'), app.clients && state !== 'offline' ? `, ${plural(app.clients, 'connection')}` : '');
  setText($('w-transport'), state === 'websocket' && link.upgradeMs ? `websocket, upgraded in ${millis(link.upgradeMs)}` : words[state] ?? state);
  setText($('w-rtt'), link.rtt == null ? '–' : millis(link.rtt));
  setText($('w-out'), `${plural(link.outCount, 'packet')}, ${bytes(link.outBytes)}`);
  setText($('w-in'), `${plural(link.inCount, 'packet')}, ${bytes(link.inBytes)}`);
}

function drawRail() {
  const { board } = app;
  reconcile($('boards'), [...app.boards.values()], (b) => b.nsp,
    (b) => el('li', { class: 'board' },
      el('button', { type: 'button', class: 'board-main', data: { nsp: b.nsp }, onclick: () => showBoard(b) },
        el('i', { class: 'lamp', 'aria-hidden': 'true' }), el('code', null, b.nsp), el('span', { class: 'board-note' }), el('b', { class: 'badge', hidden: true })),
      el('button', { type: 'button', class: 'icon-btn board-quit', 'aria-label': `Disconnect from ${b.nsp}`, title: `Disconnect from ${b.nsp}; the connection stays`, onclick: () => quit(b) }, icon('close'))),
    (node, b) => {
      const main = node.querySelector('.board-main');
      node.dataset.state = b.state;
      if (b === board) main.setAttribute('aria-current', 'true'); else main.removeAttribute('aria-current');
      setText(node.querySelector('.board-note'), b.state === 'on' ? `${b.online} here` : b.state === 'off' ? (b.online ? `${b.online} there` : 'not entered') : b.state);
      node.querySelector('.board-quit').hidden = b.state !== 'on';
      let unread = 0;
      for (const t of b.threads.values()) unread += t.unread;
      drawBadge(node.querySelector('.badge'), b === board ? 0 : unread);
    });

  const names = new Set([...board.joined, ...board.rooms.keys(), ...board.ideas]);
  if (isRoom(board.key)) names.add(board.key);
  const rank = (r) => (board.joined.has(r) ? 0 : board.rooms.has(r) ? 1 : 2);
  const rooms = [...names].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  reconcile($('rooms'), rooms, (r) => r,
    (r) => el('li', null, el('button', { type: 'button', class: 'row', data: { room: r }, onclick: () => pick(r) },
      el('code', { class: 'row-name' }, el('span', { class: 'row-hash' }, '#'), r.slice(1)), el('span', { class: 'faces', 'aria-hidden': 'true' }), el('span', { class: 'row-count', 'aria-hidden': 'true' }), el('span', { class: 'vh row-said' }), el('b', { class: 'badge', hidden: true }))),
    (node, r) => {
      const row = node.firstChild;
      const members = board.rooms.get(r) ?? [];
      row.dataset.joined = String(board.joined.has(r));
      if (r === board.key) row.setAttribute('aria-current', 'true'); else row.removeAttribute('aria-current');
      reconcile(row.querySelector('.faces'), members.slice(0, 3), (id) => id, () => el('span', { class: 'avatar avatar-tiny' }), (face, id) => paintAvatar(face, board.people.get(id) ?? { name: '?' }));
      setText(row.querySelector('.row-count'), members.length ? String(members.length) : '');
      setText(row.querySelector('.row-said'), `, ${plural(members.length, 'member')}${board.joined.has(r) ? ', joined' : ''}`);
      drawBadge(row.querySelector('.badge'), board.threads.get(r)?.unread ?? 0);
    });

  const directs = [...board.threads.values()].filter((t) => t.peer && (t.key === board.key || t.items.some((item) => item.kind === 'msg')));
  $('directs-hint').hidden = directs.length > 0;
  reconcile($('directs'), directs, (t) => t.key,
    (t) => el('li', null, el('button', { type: 'button', class: 'row', data: { person: t.key }, onclick: () => pick(t.key) },
      avatar(t.peer), el('span', { class: 'row-name' }), el('code', { class: 'row-id' }, shortId(t.key)), el('b', { class: 'badge', hidden: true }))),
    (node, t) => {
      const row = node.firstChild;
      row.dataset.gone = String(board.state === 'on' && !board.people.has(t.key));
      if (t.key === board.key) row.setAttribute('aria-current', 'true'); else row.removeAttribute('aria-current');
      paintAvatar(row.firstChild, t.peer);
      setText(row.querySelector('.row-name'), t.peer.name);
      drawBadge(row.querySelector('.badge'), t.unread);
    });

  paintAvatar($('me-avatar'), { name: app.name });
  setText($('me-name'), app.name);
  setText($('me-id'), board.state === 'on' ? board.id : 'no id now');
  $('me-id').title = `Your socket id in ${board.nsp}`;
}

function drawTalk() {
  const { board } = app;
  const thread = currentThread();
  if (thread.unread && onView(board, thread)) thread.unread = 0;
  const room = isRoom(thread.key);
  const members = board.rooms.get(thread.key) ?? [];
  const inside = board.joined.has(thread.key);
  const gone = !room && board.state === 'on' && !board.people.has(thread.key);
  const title = $('talk-title');
  setText(title, room ? thread.key : thread.peer.name);
  title.classList.toggle('is-room', room);
  setText($('talk-sub'), board.state !== 'on' ? (board.state === 'off' ? `not in ${board.nsp}` : 'waiting for the line')
    : room ? `${members.length ? plural(members.length, 'member') : 'empty'} in ${board.nsp}`
    : gone ? 'This socket id is gone' : `direct line: only socket ${thread.key}`);
  $('roll').hidden = !room || !inside || board.state !== 'on';
  $('leave').hidden = !room || !inside || board.state !== 'on';

  const ready = canSend(board, thread);
  const gate = gateOf(board, thread, { room, inside, gone });
  $('gate').hidden = !gate;
  if ($('composer').hidden !== Boolean(gate)) { $('composer').hidden = Boolean(gate); grow(); }
  if (gate) {
    setText($('gate-text'), gate.text);
    $('gate-go').hidden = !gate.go;
    setText($('gate-go'), gate.label ?? '');
    $('gate-go').onclick = gate.go ?? null;
  }
  $('text').placeholder = ready ? `Message ${room ? thread.key : thread.peer.name}` : 'Waiting for the line…';
  const length = [...$('text').value].length;
  setText($('count'), length > TEXT_MAX - 200 ? String(TEXT_MAX - length) : '');
  $('count').classList.toggle('over', length > TEXT_MAX);
  $('send').disabled = !ready || length > TEXT_MAX || (!app.attachment && !$('text').value.trim());
  $('pick').disabled = !ready;
  $('pick-label').classList.toggle('off', !ready);

  const typists = [...thread.typing.values()].map((t) => t.name);
  setText($('typing'), typists.length === 0 ? '' : typists.length === 1 ? `${typists[0]} is typing` : typists.length === 2 ? `${typists[0]} and ${typists[1]} are typing` : `${typists.length} people are typing`);
}

/// What stands in place of the composer when nothing can be sent here for a reason other than the line.
function gateOf(board, thread, { room, inside, gone }) {
  if (board.state === 'off') return { text: `Not in ${board.nsp}. Entering sends one CONNECT packet over the line that is there.`, label: `Enter ${board.nsp}`, go: () => enter(board) };
  if (board.state === 'refused') return { text: board.error, label: 'Try again', go: () => enter(board) };
  if (board.state !== 'on') return null;
  if (room && !inside) {
    const n = (board.rooms.get(thread.key) ?? []).length;
    return { text: n ? `${plural(n, 'person is', 'people are')} in ${thread.key}. What is said there reaches members only.` : `Nobody is in ${thread.key}. It comes into being when you join.`, label: `Join ${thread.key}`, go: () => join(board, thread.key, { show: true }).then(complain) };
  }
  if (gone) {
    const back = [...board.people.values()].find((p) => p.name === thread.peer.name && p.id !== board.id);
    return { text: back ? `${thread.peer.name} is back under another id: ${shortId(back.id)}` : `${thread.peer.name} disconnected. A socket id is not used again.`, label: back ? 'Continue there' : '', go: back && (() => pick(back.id)) };
  }
  return null;
}

function drawPeople() {
  const { board } = app;
  const room = isRoom(board.key);
  const byName = (a, b) => (b.id === board.id) - (a.id === board.id) || a.name.localeCompare(b.name) || a.id.localeCompare(b.id);
  const all = [...board.people.values()];
  const ids = new Set(room ? board.rooms.get(board.key) ?? [] : [board.id, board.key]);
  const members = all.filter((p) => ids.has(p.id)).sort(byName);
  const others = all.filter((p) => !ids.has(p.id)).sort(byName);
  setText($('h-people'), room ? `In ${board.key}` : 'On this line');
  setText($('h-others'), `Elsewhere in ${board.nsp}`);
  $('h-others').hidden = others.length === 0;
  $('lost').hidden = board.state === 'on';
  setText($('lost'), board.state === 'off' ? `You are not in ${board.nsp}.` : 'Who is here is known again when the line is back.');
  $('alone').hidden = board.state !== 'on' || all.length > 1;
  drawMembers($('members'), members);
  drawMembers($('others'), others);
}

function drawMembers(list, people) {
  const { board } = app;
  reconcile(list, people, (p) => p.id,
    (p) => el('li', null, el('button', { type: 'button', class: 'row', data: { person: p.id }, onclick: () => pick(p.id) }, avatar(p), el('span', { class: 'row-name' }), el('span', { class: 'row-node', title: 'The node of the cluster that holds this connection' }), el('code', { class: 'row-id' }, shortId(p.id)), el('span', { class: 'row-you' }, 'you'), el('span', { class: 'row-do', 'aria-hidden': 'true' }, 'message'))),
    (node, p) => {
      const me = p.id === board.id;
      const row = node.firstChild;
      row.disabled = me;
      row.dataset.me = String(me);
      row.title = p.id;
      setText(row.querySelector('.row-name'), p.name);
      setText(row.querySelector('.row-node'), p.node);
    });
}

// ---- The log ----

/// Whether the reader is at the end, and so is to stay there. Only scrolling changes that, not what is added.
const stuck = { log: true, wire: true };
const atEnd = (node) => node.scrollHeight - node.scrollTop - node.clientHeight < 60;

function scrollDown() {
  const log = $('log');
  log.scrollTop = log.scrollHeight;
  stuck.log = true;
  $('jump').hidden = true;
}

function appendToLog(thread, item) {
  const before = thread.items[thread.items.indexOf(item) - 1];
  $('log').append(nodeOf(item, before));
  if (stuck.log) scrollDown();
  else if (item.kind === 'msg' && !item.mine) $('jump').hidden = false;
}

function showThread() {
  const thread = currentThread();
  $('log').replaceChildren(...thread.items.map((item, i) => nodeOf(item, thread.items[i - 1])));
  $('text').value = thread.draft;
  grow();
  composerError('');
  scrollDown();
}

function nodeOf(item, before) {
  if (item.node) return item.node;
  item.node = el('div');
  item.follows = before?.kind === 'msg' && item.kind === 'msg' && before.from.id === item.from.id && item.at - before.at < 180_000;
  fill(item);
  return item.node;
}

/// Draws one item again after its state changed.
function touch(item) {
  if (!item.node) return;
  fill(item);
  if (stuck.log) scrollDown();
}

function fill(item) {
  const { node } = item;
  if (item.kind === 'note') {
    node.className = 'note';
    if (!node.firstChild) node.append(el('span', null, item.text), el('time', null, clock(item.at)));
    return;
  }
  if (item.kind === 'roll') { fillRoll(item); return; }
  node.className = `msg${item.mine ? ' mine' : ''}${item.follows ? ' follows' : ''}`;
  if (!node.firstChild) {
    node.append(
      item.mine ? '' : item.follows ? el('span', { class: 'avatar avatar-gap' }) : avatar(item.from),
      el('div', { class: 'msg-body' },
        item.mine || item.follows ? null : el('p', { class: 'msg-who' }, el('strong', null, item.from.name), ' ', el('time', null, clock(item.at))),
        item.image ? picture(item) : el('p', { class: 'bubble' }, item.text),
        item.mine ? el('div', { class: 'fate' }) : null));
  }
  if (item.mine) fillFate(item);
}

function picture(item) {
  const { meta, url, size } = item.image;
  const img = el('img', { src: url, alt: `Image from ${item.from.name}: ${meta.name}`, width: meta.width, height: meta.height });
  img.style.width = `${Math.round(Math.min(meta.width, 360, (260 * meta.width) / meta.height))}px`; // its place is kept before it is decoded
  return el('figure', { class: 'pic' },
    el('button', { type: 'button', class: 'pic-open', 'aria-label': `Enlarge ${meta.name}`, onclick: () => enlarge(item) }, img),
    el('figcaption', null, `${meta.name}, ${bytes(size)} as binary`));
}

function enlarge({ image, from }) {
  $('viewer-img').src = image.url;
  $('viewer-img').alt = image.meta.name;
  $('viewer-text').textContent = `${image.meta.name} from ${from.name}, ${image.meta.width} × ${image.meta.height}, ${bytes(image.size)}`;
  $('viewer').showModal();
}

function fillFate(item) {
  const fate = item.node.querySelector('.fate');
  const { status, receipt } = item;
  fate.dataset.fate = receipt ? 'received' : status;
  if (status === 'sending') { fate.replaceChildren(icon('clock'), 'sent, waiting for the acknowledgement'); return; }
  if (status === 'failed' || status === 'refused') {
    fate.replaceChildren(icon('warn'), status === 'failed' ? 'not acknowledged' : item.error,
      el('button', { type: 'button', class: 'text-btn', onclick: () => send(item.board, item.to, null, item) }, 'Send again'));
    return;
  }
  const acked = `acknowledged in ${millis(item.ms)}`;
  if (!receipt) { fate.replaceChildren(icon('tick'), item.reach === 0 ? `${acked}, nobody else here` : acked); return; }
  const open = fate.querySelector('[aria-expanded]')?.getAttribute('aria-expanded') === 'true';
  const who = el('ul', { class: 'who', hidden: !open }, receipt.by.map((id) => {
    const person = app.board.people.get(id) ?? { id, name: shortId(id) };
    return el('li', null, avatar(person), person.name);
  }), receipt.by.length < receipt.reach ? el('li', { class: 'who-missing' }, `${receipt.reach - receipt.by.length} did not answer`) : null);
  const toggle = el('button', { type: 'button', class: 'text-btn', 'aria-expanded': String(open), onclick: () => {
    who.hidden = !who.hidden;
    toggle.setAttribute('aria-expanded', String(!who.hidden));
    if (stuck.log) scrollDown();
  } }, `received by ${receipt.by.length} of ${receipt.reach}`);
  fate.replaceChildren(icon('ticks'), `${acked}, `, toggle, who);
}

function fillRoll(item) {
  const { node, reply, error } = item;
  node.className = 'roll';
  const head = error ? error : reply
    ? `${reply.answers.length} of ${reply.answers.length + reply.missing} answered in ${millis(item.ms)}`
    : 'asking everybody…';
  node.replaceChildren(...solid([
    el('p', { class: 'roll-head' }, el('strong', null, 'Roll call'), ' ', el('span', null, head)),
    reply?.answers.length ? el('ul', null, reply.answers.map((a) => {
      const person = app.board.people.get(String(a?.id)) ?? { name: shortId(String(a?.id)) };
      return el('li', null, avatar(person), el('span', { class: 'roll-name' }, person.name), el('code', { data: { transport: String(a?.transport) } }, String(a?.transport)), el('span', { class: 'roll-eye' }, a?.visible ? 'looking' : 'in the background'));
    })) : null,
    reply && reply.answers.length + reply.missing === 0 ? el('p', { class: 'roll-none' }, 'Nobody else is in this room.') : null]));
  if (!reply && !error) node.setAttribute('aria-busy', 'true'); else node.removeAttribute('aria-busy');
}

// ---- Moving about ----

function setView(view) {
  document.body.dataset.view = view;
  for (const b of document.querySelectorAll('.tabs [data-go]')) {
    if (b.dataset.go === view) b.setAttribute('aria-current', 'page'); else b.removeAttribute('aria-current');
  }
  render();
}

/// Opens a thread without stealing the view.
function open(board, key) {
  const thread = board.threads.get(board.key);
  if (board === app.board && thread) thread.draft = $('text').value;
  if (key !== board.key) detach();
  for (const node of $('toasts').querySelectorAll('[data-thread]')) if (node.dataset.thread === key) node.remove();
  board.key = key;
  threadOf(board, key);
  if (board === app.board) showThread();
  render();
}

function pick(key) {
  open(app.board, key);
  setView('chat');
  if (!matchMedia('(pointer: coarse)').matches && !$('composer').hidden) $('text').focus();
}

function showBoard(board) {
  if (board !== app.board) {
    currentThread().draft = $('text').value;
    detach();
    app.board = board;
    showThread();
  }
  if (board.state === 'off') enter(board);
  render();
}

function composerError(text) {
  setText($('composer-error'), text);
}

function complain(text) {
  if (!text) return;
  const node = el('div', { class: 'toast toast-bad', role: 'alert' }, el('span', null, text));
  $('toasts').append(node);
  setTimeout(() => node.remove(), 6000);
}

function toast(board, key, from, text) {
  const node = el('button', { type: 'button', class: 'toast', data: { thread: key }, onclick: () => { node.remove(); showBoard(board); pick(key); } },
    avatar(from), el('span', { class: 'toast-text' }, el('strong', null, `${from.name}, directly`), el('span', null, text)));
  const box = $('toasts');
  box.append(node);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(() => node.remove(), 7000);
}

function grow() {
  const t = $('text');
  t.style.height = '';
  if (t.scrollHeight > 40) t.style.height = `${Math.min(168, t.scrollHeight)}px`;
}

function hangUp() {
  app.manager.disconnect();
  location.reload();
}

function backToDoor(reason) {
  app.manager.disconnect();
  app.manager = null;
  app.boards.clear();
  document.body.dataset.screen = 'door';
  document.body.dataset.state = 'idle';
  $('app').hidden = true;
  $('door').hidden = false;
  $('log').replaceChildren();
  setText($('door-error'), reason);
  $('name').focus();
}

// ---- Listening to the person in front ----

function nameProblem(name) {
  const n = [...name].length;
  return n < 1 || n > NAME_MAX || /\p{Cc}/u.test(name) ? `Choose a name of 1 to ${NAME_MAX} characters` : '';
}

$('door-form').addEventListener('submit', (e) => {
  e.preventDefault();
  const name = $('name').value.trim();
  const problem = typeof io === 'undefined' ? 'The Socket.IO client is missing: the server has no /client/socket.io.min.js' : nameProblem(name);
  setText($('door-error'), problem);
  if (problem) { $('name').focus(); return; }
  remember('name', name);
  connect(name);
});

$('room-form').addEventListener('submit', async (e) => {
  e.preventDefault();
  const { board } = app;
  const input = $('room-name');
  const room = `#${input.value.trim().toLowerCase().replace(/^#/, '').replace(/\s+/g, '-')}`;
  if (!ROOM.test(room)) { setText($('room-error'), 'Use 1 to 24 of a-z, 0-9 and -'); return; }
  if (board.state !== 'on') { setText($('room-error'), 'The line is down'); return; }
  setText($('room-error'), '');
  const problem = board.joined.has(room) ? '' : await join(board, room);
  if (problem) { setText($('room-error'), problem); return; }
  input.value = '';
  if (board === app.board) pick(room);
});

$('composer').addEventListener('submit', (e) => {
  e.preventDefault();
  const { board } = app;
  const thread = currentThread();
  const text = $('text').value.trim();
  composerError('');
  if (!canSend(board, thread)) { composerError('The line is down. What you wrote stays here until it is back.'); return; }
  if ([...text].length > TEXT_MAX) { composerError(`A message has at most ${TEXT_MAX} characters`); return; }
  const typing = document.activeElement === $('text') || Boolean(text);
  if (app.attachment) {
    send(board, thread.key, { image: app.attachment });
    detach(true);
  }
  if (text) {
    send(board, thread.key, { text });
    $('text').value = '';
    thread.draft = '';
    grow();
  }
  if (typing || !matchMedia('(pointer: coarse)').matches) $('text').focus(); // no keyboard up for an image alone
  render();
});

$('text').addEventListener('keydown', (e) => {
  if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) {
    e.preventDefault();
    $('composer').requestSubmit();
  }
});
$('text').addEventListener('input', () => { grow(); if ($('text').value.trim()) tellTyping(); render(); });
$('pick').addEventListener('change', () => attach($('pick').files[0]));
$('attach-drop').addEventListener('click', () => { detach(); $('text').focus(); render(); });
document.addEventListener('paste', (e) => {
  const file = [...(e.clipboardData?.files ?? [])].find((f) => f.type.startsWith('image/'));
  if (file && app.manager) { e.preventDefault(); attach(file); }
});

let dragDepth = 0;
const dragsFiles = (e) => app.manager && [...(e.dataTransfer?.types ?? [])].includes('Files');
addEventListener('dragenter', (e) => { if (dragsFiles(e)) { dragDepth += 1; $('drop').hidden = !canSend(app.board, currentThread()); } });
addEventListener('dragleave', (e) => { if (dragsFiles(e)) { dragDepth = Math.max(0, dragDepth - 1); if (!dragDepth) $('drop').hidden = true; } });
addEventListener('dragover', (e) => { if (dragsFiles(e)) e.preventDefault(); });
addEventListener('drop', (e) => {
  if (!dragsFiles(e)) return;
  e.preventDefault();
  dragDepth = 0;
  $('drop').hidden = true;
  const file = [...e.dataTransfer.files].find((f) => f.type.startsWith('image/'));
  if (file) attach(file); else composerError('Only images can be sent');
});

$('roll').addEventListener('click', () => rollCall(app.board, app.board.key));
$('leave').addEventListener('click', () => leave(app.board, app.board.key));
$('cut').addEventListener('click', cutLine);
$('retry').addEventListener('click', retryNow);
$('sign-out').addEventListener('click', hangUp);
$('jump').addEventListener('click', scrollDown);
$('log').addEventListener('scroll', () => {
  if ($('log').clientHeight) stuck.log = atEnd($('log'));
  if (stuck.log) $('jump').hidden = true;
}, { passive: true });
$('wire-log').addEventListener('scroll', () => { if ($('wire-log').clientHeight) stuck.wire = atEnd($('wire-log')); }, { passive: true });
const resized = new ResizeObserver(() => {
  if (stuck.log) scrollDown();
  if (stuck.wire) $('wire-log').scrollTop = $('wire-log').scrollHeight;
});
resized.observe($('log'));
resized.observe($('wire-log'));
$('mode').addEventListener('change', () => setMode($('mode').value));
$('wire-clear').addEventListener('click', () => $('wire-log').replaceChildren());
$('wire-beats').addEventListener('click', (e) => {
  const on = e.currentTarget.getAttribute('aria-pressed') !== 'true';
  e.currentTarget.setAttribute('aria-pressed', String(on));
  $('wire').classList.toggle('show-beats', on);
});
$('aside-toggle').addEventListener('click', () => {
  const on = document.body.dataset.aside !== 'open';
  document.body.dataset.aside = on ? 'open' : '';
  $('aside-toggle').setAttribute('aria-expanded', String(on));
});
$('viewer-close').addEventListener('click', () => $('viewer').close());
$('viewer').addEventListener('click', (e) => { if (e.target === $('viewer')) $('viewer').close(); });
for (const b of document.querySelectorAll('.tabs [data-go]')) b.addEventListener('click', () => setView(b.dataset.go));
document.addEventListener('visibilitychange', render);
addEventListener('resize', render);
addEventListener('online', () => { if (link.state === 'offline' && link.retryAt) retryNow(); });
setInterval(() => { if (link.state === 'offline') render(); }, 250); // the countdown to the next attempt

// ---- At the door ----

/// The drawing beside the form: cords from one jack to many, as on the board the page is named after.
function drawDoor() {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = $('door-svg');
  const make = (tag, attrs) => {
    const node = document.createElementNS(ns, tag);
    for (const [k, v] of Object.entries(attrs)) node.setAttribute(k, v);
    svg.append(node);
    return node;
  };
  const jacks = [];
  for (let y = 0; y < 7; y++) for (let x = 0; x < 7; x++) jacks.push([80 + x * 80, 80 + y * 80]);
  for (const [x, y] of jacks) {
    make('circle', { cx: x, cy: y, r: 11, class: 'jack' });
    make('circle', { cx: x, cy: y, r: 4, class: 'jack-hole' });
  }
  const cords = [[0, 24, 'c1'], [43, 24, 'c2'], [13, 24, 'c3'], [40, 24, 'c4'], [29, 4, 'c5']];
  for (const [from, to, tone] of cords) {
    const [x1, y1] = jacks[from];
    const [x2, y2] = jacks[to];
    const sag = 70 + Math.abs(x2 - x1) * 0.25;
    make('path', { d: `M${x1} ${y1} C${x1} ${y1 + sag} ${x2} ${y2 + sag} ${x2} ${y2}`, class: `cord ${tone}` });
    make('path', { d: `M${x1} ${y1} C${x1} ${y1 + sag} ${x2} ${y2 + sag} ${x2} ${y2}`, class: `pulse ${tone}`, pathLength: '100' });
    for (const [x, y] of [[x1, y1], [x2, y2]]) make('circle', { cx: x, cy: y, r: 9, class: `plug ${tone}` });
  }
}

drawDoor();
$('alone-phone').hidden = /^(localhost|127\.|\[::1\])/.test(location.hostname); // a phone cannot reach that
setView('chat');
$('name').value = new URLSearchParams(location.search).get('name')?.trim() || recall('name');
if (typeof io === 'undefined') setText($('door-error'), 'The Socket.IO client is missing: the server has no /client/socket.io.min.js');
else if (new URLSearchParams(location.search).get('name')) $('door-form').requestSubmit();
else $('name').focus({ preventScroll: true });
