// End-to-end check of the demo page against a running server: a desk-sized and a phone-sized browser page (and a third,
// which must not overhear) connect, talk, send an image, whisper, lose the line and leave. Waits for what a page shows,
// never for time to pass. Exit 0, or 1 with the first difference.
//
//   node e2e.mjs --url http://127.0.0.1:3000/ --playwright DIR_OF_playwright-core [--chromium PATH] [--shots DIR]
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: { url: { type: 'string' }, playwright: { type: 'string' }, chromium: { type: 'string' }, shots: { type: 'string' } },
});
if (!options.url || !options.playwright) {
  console.error('usage: node e2e.mjs --url URL --playwright DIR_OF_playwright-core [--chromium PATH] [--shots DIR]');
  process.exit(2);
}
const { chromium } = await import(pathToFileURL(join(resolve(options.playwright), 'index.mjs')));
const executablePath = options.chromium ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
if (options.shots) mkdirSync(options.shots, { recursive: true });

const WAIT = 15_000;
const run = Date.now().toString(36).slice(-5);
const ROOM = `#check-${run}`; // a room of this run's own: the server may have other guests
const origin = new URL(options.url).origin;
let step = 'start';
const complaints = [];

class Difference extends Error {}

function begin(name) {
  step = name;
  console.log(`- ${name}`);
}

/// The next change of the document, or a moment: an image that finishes loading changes nothing in it.
const change = () => new Promise((done) => {
  const over = () => { watch.disconnect(); clearTimeout(timer); done(); };
  const watch = new MutationObserver(over);
  const timer = setTimeout(over, 200);
  watch.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
});

/// Waits until `probe(arg)`, evaluated in the page, gives `expected`; says what it gave instead.
/// (Not waitForFunction: that needs eval, which the page's Content-Security-Policy forbids.)
async function shows(page, what, expected, probe, arg) {
  const want = JSON.stringify(expected);
  const until = Date.now() + WAIT;
  for (;;) {
    const got = JSON.stringify(await page.evaluate(probe, arg));
    if (got === want) return;
    if (Date.now() > until) throw new Difference(`${page.who}: ${what}\n  expected ${want}\n  got      ${got}`);
    await page.evaluate(change);
  }
}

/// Something that must be so now, not later.
async function is(page, what, expected, probe, arg) {
  const got = JSON.stringify(await page.evaluate(probe, arg));
  if (got !== JSON.stringify(expected)) throw new Difference(`${page.who}: ${what}\n  expected ${JSON.stringify(expected)}\n  got      ${got}`);
}

async function shot(page, name) {
  if (options.shots) await page.screenshot({ path: join(options.shots, `${name}.png`) });
}

async function guest(browser, who, viewport, phone = false) {
  const context = await browser.newContext({ viewport, isMobile: phone, hasTouch: phone, deviceScaleFactor: phone ? 2 : 1 });
  const page = await context.newPage();
  page.setDefaultTimeout(WAIT);
  page.who = who;
  page.lines = 0;
  page.on('websocket', () => { page.lines += 1; });
  page.on('pageerror', (error) => complaints.push(`${who}: uncaught ${error.message}`));
  page.on('console', (m) => { if (m.type() === 'error') complaints.push(`${who}: console: ${m.text()} ${m.location().url ?? ''}`); });
  page.on('request', (r) => { if (/^https?:/.test(r.url()) && new URL(r.url()).origin !== origin) complaints.push(`${who}: asked another host: ${r.url()}`); });
  await page.goto(options.url);
  await page.fill('#name', who);
  await page.press('#name', 'Enter');
  return page;
}

const state = () => document.body.dataset.state;
const pill = () => document.querySelector('#pill-text').innerText;
const myId = () => document.querySelector('#me-id').textContent;

/// Whether the page keeps within the window, and which of the named parts do not lie in it whole.
async function fits(page, ...parts) {
  await is(page, 'everything is on the screen', [true, []], ([{ width, height }, all]) => [
    document.documentElement.scrollWidth <= width,
    all.filter((part) => {
      const box = document.querySelector(part).getBoundingClientRect();
      return box.width === 0 || box.height === 0 || box.left < 0 || box.top < 0 || box.right > width || box.bottom > height;
    }),
  ], [page.viewportSize(), parts]);
}

const view = async (page, name) => { if (page.phone) await page.click(`.tabs [data-go="${name}"]`); };
const members = () => [...document.querySelectorAll('#members .row-name')].map((n) => n.textContent).sort();
const texts = (who) => [...document.querySelectorAll('#log .msg:not(.mine)')].filter((n) => n.querySelector('.msg-who strong')?.textContent === who).map((n) => n.querySelector('.bubble')?.textContent).filter(Boolean);
const notes = (text) => [...document.querySelectorAll('#log .note')].some((n) => n.textContent.includes(text));
const packets = (kind) => document.querySelectorAll(`#wire-log [data-kind="${kind}"]`).length > 0;
const fate = () => { const all = [...document.querySelectorAll('#log .fate')]; return all.at(-1)?.dataset.fate; };
const say = async (page, text) => { await page.fill('#text', text); await page.press('#text', 'Enter'); };

async function joinByForm(page, room) {
  await view(page, 'rooms');
  await page.fill('#room-name', room.slice(1));
  await page.press('#room-name', 'Enter');
  await shows(page, 'the title of the conversation', room, () => document.querySelector('#talk-title').textContent);
  await shows(page, 'the composer is there', true, () => !document.querySelector('#composer').hidden);
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-background-networking'] });
let status = 0;
try {
  begin('a name that the server would refuse is stopped at the door');
  const desk = await guest(browser, ' ', { width: 1440, height: 900 });
  await shows(desk, 'the complaint', 'Choose a name of 1 to 24 characters', () => document.querySelector('#door-error').textContent);
  await shot(desk, 'desk-0-door');

  begin('three pages connect and become websocket');
  desk.who = 'Ada';
  await desk.fill('#name', 'Ada');
  await desk.press('#name', 'Enter');
  const phone = await guest(browser, 'Grace', { width: 390, height: 844 }, true);
  phone.phone = true;
  const third = await guest(browser, 'Linus', { width: 900, height: 700 });
  for (const page of [desk, phone, third]) {
    await shows(page, 'the connection', 'websocket', state);
    await shows(page, 'its name on the page', 'websocket', pill);
    await shows(page, 'a handshake, then an upgrade, on the wire', [true, true], () => [
      document.querySelectorAll('#wire-log [data-kind="OPEN"]').length === 1,
      [...document.querySelectorAll('#wire-log .pkt-note')].some((n) => /^upgraded to websocket after/.test(n.textContent)),
    ]);
    await shows(page, 'the first room', '#general', () => document.querySelector('#talk-title').textContent);
  }

  begin('rooms: joined by form, with member lists');
  for (const page of [desk, phone, third]) await joinByForm(page, ROOM);
  for (const page of [desk, phone, third]) await fits(page, '#pill', '#talk-title', '#leave', '#text', '#send');
  await fits(desk, '#boards', '#members');
  for (const page of [desk, phone, third]) await shows(page, `members of ${ROOM}`, ['Ada', 'Grace', 'Linus'], members);
  await shows(desk, 'the others are seen joining', [true, true], ([a, b]) => [a, b].map((t) => [...document.querySelectorAll('#log .note')].some((n) => n.textContent.includes(t))), ['Grace joined', 'Linus joined']);

  begin('an acknowledged message, and who received it');
  const nasty = '<img src=x onerror="document.title=1"> & <b>bold</b>';
  await say(desk, 'Can everybody hear me?');
  await shows(phone, 'the message', ['Can everybody hear me?'], texts, 'Ada');
  await shows(desk, 'the fate of the message', 'received', fate);
  await shows(desk, 'the words under it', [true, true], () => { const t = document.querySelector('#log .fate').textContent; return [/acknowledged in [\d.]+ ms/.test(t), t.includes('received by 2 of 2')]; });
  await desk.click('#log .fate .text-btn');
  await shows(desk, 'the names of those who received it', ['Grace', 'Linus'], () => [...document.querySelectorAll('#log .who li')].map((n) => n.lastChild.textContent).sort());
  await say(desk, nasty);
  await shows(phone, 'markup stays text', nasty, () => [...document.querySelectorAll('#log .bubble')].at(-1)?.textContent);
  await is(phone, 'no element came out of it', 0, () => document.querySelectorAll('#log .bubble *').length);

  begin('roll call: a broadcast with acknowledgements');
  await desk.click('#roll');
  await shows(desk, 'the answers', [true, ['Grace', 'Linus'], ['websocket', 'websocket']], () => {
    const roll = document.querySelector('#log .roll');
    const all = (s) => [...(roll?.querySelectorAll(s) ?? [])].map((n) => n.textContent).sort();
    return [/2 of 2 answered/.test(roll?.textContent ?? ''), all('.roll-name'), all('code')];
  });

  begin('an image, scaled in the browser and sent as binary');
  const png = await phone.evaluate(() => {
    const canvas = document.createElement('canvas');
    canvas.width = 2400;
    canvas.height = 1500;
    const pen = canvas.getContext('2d');
    const sky = pen.createLinearGradient(0, 0, 0, 1500);
    [[0, '#1b2a6b'], [0.45, '#7d5fb2'], [0.62, '#ff9a76'], [0.66, '#ffd9a0']].forEach(([at, tone]) => sky.addColorStop(at, tone));
    pen.fillStyle = sky;
    pen.fillRect(0, 0, 2400, 1500);
    pen.fillStyle = '#fff1cf';
    pen.beginPath(); pen.arc(1630, 905, 120, 0, 7); pen.fill();
    [['#3b3f86', 980, 150, 0.0021], ['#262b66', 1120, 120, 0.0034], ['#141742', 1280, 90, 0.0052]].forEach(([tone, base, height, rate]) => {
      pen.fillStyle = tone;
      pen.beginPath(); pen.moveTo(0, 1500);
      for (let x = 0; x <= 2400; x += 12) pen.lineTo(x, base - Math.abs(Math.sin(x * rate + base)) * height - Math.sin(x * rate * 3.1) * height * 0.2);
      pen.lineTo(2400, 1500); pen.fill();
    });
    return canvas.toDataURL('image/png').split(',')[1];
  });
  await phone.setInputFiles('#pick', { name: 'harbour.png', mimeType: 'image/png', buffer: Buffer.from(png, 'base64') });
  await shows(phone, 'the attachment', ['harbour.webp', true], () => [document.querySelector('#attach-name').textContent, document.querySelector('#attach-info').textContent.startsWith('1600 × 1000')]);
  await phone.click('#send');
  await shows(desk, 'the image, decoded', [1600, 1000, 'Image from Grace: harbour.webp'], () => { const i = document.querySelector('#log .msg:not(.mine) .pic img'); return i && [i.naturalWidth, i.naturalHeight, i.alt]; });
  await shows(phone, 'its fate', 'received', fate);
  await shows(phone, 'binary packets sent', [true, true], () => ['BINARY_EVENT', 'BINARY'].map((k) => document.querySelectorAll(`#wire-log .pkt-out[data-kind="${k}"]`).length > 0));
  await shows(desk, 'binary packets received', [true, true], () => ['BINARY_EVENT', 'BINARY'].map((k) => document.querySelectorAll(`#wire-log .pkt-in[data-kind="${k}"]`).length > 0));
  await say(phone, 'From the roof, just now. It went over as one binary attachment.');
  await shows(phone, 'its fate', 'received', fate);
  await shot(desk, 'desk-1-room');
  await shot(phone, 'phone-1-room');

  begin('a private message by socket id, which a third does not hear');
  const graceId = await desk.evaluate(() => [...document.querySelectorAll('#members .row')].find((n) => n.querySelector('.row-name').textContent === 'Grace').dataset.person);
  await desk.click(`#members [data-person="${graceId}"]`);
  await shows(desk, 'the title of the line', 'Grace', () => document.querySelector('#talk-title').textContent);
  await say(desk, 'Lunch at one? Just you.');
  await shows(desk, 'its fate', 'received', fate);
  await shows(desk, 'that one page received it', true, () => document.querySelector('#log .fate').textContent.includes('received by 1 of 1'));
  await shows(phone, 'a badge', '1', () => document.querySelector('#tab-badge').textContent);
  await is(phone, 'the room does not show it', false, () => document.querySelector('#log').textContent.includes('Lunch at one'));
  await view(phone, 'rooms');
  await shot(phone, 'phone-2-rooms');
  await phone.click('#directs .row');
  await shows(phone, 'the private message', ['Lunch at one? Just you.'], texts, 'Ada');
  await say(phone, 'One it is.');
  await shows(desk, 'the answer', ['One it is.'], texts, 'Grace');
  await shows(phone, 'its fate', 'received', fate);
  await shot(desk, 'desk-2-direct');
  await shot(phone, 'phone-3-direct');
  await desk.click(`#rooms [data-room="${ROOM}"]`);
  await say(desk, 'Back in the room.');
  await shows(third, 'the next message in the room', true, () => [...document.querySelectorAll('#log .bubble')].some((n) => n.textContent === 'Back in the room.'));
  await is(third, 'nothing private was heard', [false, 0], () => [document.body.textContent.includes('Lunch at one'), document.querySelectorAll('#directs .row').length]);

  begin('a second namespace over the same connection');
  const inChat = await desk.evaluate(myId);
  await is(desk, 'not in /support yet', 'off', () => document.querySelector('[data-nsp="/support"]').closest('.board').dataset.state);
  await desk.click('.board-main[data-nsp="/support"]');
  await shows(desk, 'in /support', ['on', '#help-desk'], () => [document.querySelector('.board-main[data-nsp="/support"]').closest('.board').dataset.state, document.querySelector('#talk-title').textContent]);
  await shows(desk, 'the ids differ from namespace to namespace', [20, 20, true], (other) => {
    const id = document.querySelector('#me-id').textContent;
    return [id.length, other.length, id !== other];
  }, inChat);
  if (desk.lines !== 1) throw new Difference(`Ada: websocket connections\n  expected 1\n  got      ${desk.lines}`);
  await shot(desk, 'desk-3-support');
  await desk.click('.board:has([data-nsp="/support"]) .board-quit');
  await shows(desk, 'out of /support, still in /chat', ['off', 'on'], () => ['/support', '/chat'].map((n) => document.querySelector(`.board-main[data-nsp="${n}"]`).closest('.board').dataset.state));
  await desk.click('.board-main[data-nsp="/chat"]');
  await shows(desk, 'the room again', ROOM, () => document.querySelector('#talk-title').textContent);

  begin('the line is cut, and found again');
  const before = await desk.evaluate(myId);
  await desk.click('#cut');
  await shows(desk, 'that it is off, and says so', ['offline', true], () => [document.body.dataset.state, document.querySelector('#pill-text').innerText.startsWith('offline')]);
  await shot(desk, 'desk-4-offline');
  await shows(desk, 'the connection', 'websocket', state);
  await shows(desk, `members of ${ROOM}`, ['Ada', 'Grace', 'Linus'], members);
  await shows(desk, 'another id than before', true, (old) => document.querySelector('#me-id').textContent !== old && document.querySelector('#me-id').textContent.length > 8, before);
  await shows(third, 'Ada left and joined again', [true, true], () => ['Ada left', 'Ada joined'].map((t) => [...document.querySelectorAll('#log .note')].some((n) => n.textContent.includes(t))));
  await say(desk, 'I am back.');
  await shows(third, 'a message after that', true, () => [...document.querySelectorAll('#log .bubble')].some((n) => n.textContent === 'I am back.'));
  await shows(desk, 'its fate', 'received', fate);

  begin('polling alone does as well, with binary');
  await desk.selectOption('#mode', 'polling');
  await shows(desk, 'the connection, and the room', ['polling', true], () => [document.body.dataset.state, !document.querySelector('#leave').hidden]);
  await shows(desk, 'its name on the page', 'polling', pill);
  await say(desk, 'Over plain HTTP now.');
  await shows(desk, 'its fate', 'received', fate);
  await view(phone, 'rooms');
  await phone.click(`#rooms [data-room="${ROOM}"]`);
  await phone.setInputFiles('#pick', { name: 'again.png', mimeType: 'image/png', buffer: Buffer.from(png, 'base64') });
  await shows(phone, 'the attachment', 'again.webp', () => document.querySelector('#attach-name').textContent);
  await phone.click('#send');
  await shows(desk, 'the second image, decoded', [1600, 1000], () => { const i = [...document.querySelectorAll('#log .pic img')].find((n) => n.alt.endsWith('again.webp')); return i && [i.naturalWidth, i.naturalHeight]; });
  await is(desk, 'the connection', 'polling', state);
  await desk.selectOption('#mode', 'auto');
  await shows(desk, 'the connection', 'websocket', state);
  await shows(desk, `members of ${ROOM}`, ['Ada', 'Grace', 'Linus'], members);

  begin('leaving: a room by its button, the server by closing the page');
  await view(phone, 'rooms');
  await phone.click(`#rooms [data-room="${ROOM}"]`);
  await phone.click('#leave');
  await shows(phone, 'the way back in', `Join ${ROOM}`, () => document.querySelector('#gate-go').textContent);
  await shows(desk, `members of ${ROOM}`, ['Ada', 'Linus'], members);
  await shows(desk, 'that she left', true, notes, 'Grace left');
  await third.close();
  await shows(desk, `members of ${ROOM}`, ['Ada'], members);
  await shows(desk, 'that he left', true, notes, 'Linus left');
  await view(phone, 'people');
  await fits(phone, '#members', '.tabs');
  await shot(phone, 'phone-4-people');
  await view(phone, 'wire');
  await shows(phone, 'acknowledgements on the wire', true, packets, 'ACK');
  await shot(phone, 'phone-5-wire');

  begin('nothing complained, nothing came from elsewhere');
  if (complaints.length) throw new Difference(complaints.join('\n'));
  console.log('the demo page does what it says');
} catch (error) {
  status = 1;
  console.error(`FAILED at: ${step}\n${error instanceof Difference ? error.message : error.stack}`);
  if (complaints.length) console.error(`also: ${complaints.join('\n      ')}`);
} finally {
  await browser.close();
}
process.exit(status);
