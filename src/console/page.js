// The first page: live alerts, rates, and why one alert was raised. It reads the live feed and nothing else.
//
// Invariants: what a record says becomes text, never markup; lists are bounded, whatever the feed sends; a verdict is
// shown once, also when the connection is made anew with the cursor; the token leaves this tab for this server only.

import { $, LEVELS, badge, make, money, show, textOf, time } from "./verdict.js";

const MOST_ROWS = 200;
const MINUTE = 60;
const SILENT_MS = 6_000; // The feed sends figures each second: this long without any, and the connection is dead.
const BACKOFF_MS = [500, 10_000];
const SPEAK_EVERY_MS = 5_000;
const TOKEN = "sentra.token";

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

// --- The connection -----------------------------------------------------------------------------------------------

const feed = { socket: null, cursor: null, seen: new Map(), failures: 0, watchdog: 0, timer: 0 };
let levels = new Set(["HIGH", "CRITICAL"]);

function state(name, text) {
  $("connection").dataset.state = name;
  $("connection-text").textContent = text;
}

/** A browser cannot send the token with a WebSocket: it fetches a ticket with it, which opens one connection. */
async function ticket() {
  const answer = await ask("/v1/feed/tickets", "POST");
  if (answer.status === 401) return { refused: true };
  if (!answer.ok) throw new Error(`tickets: ${answer.status}`);
  return { ticket: (await answer.json()).ticket };
}

function ask(path, method) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  return fetch(path, { method, headers, cache: "no-store", credentials: "omit" });
}

async function connect() {
  feed.timer = 0;
  state("waiting", feed.failures ? "reconnecting" : "connecting");
  let given;
  try {
    given = await ticket();
  } catch {
    return again();
  }
  if (given.refused) return askForToken();
  const url = new URL("/v1/feed", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("ticket", given.ticket);
  url.searchParams.set("level", [...levels].join(","));
  if (feed.cursor) url.searchParams.set("cursor", feed.cursor);
  const socket = new WebSocket(url);
  feed.socket = socket;
  socket.onmessage = (event) => {
    if (feed.socket !== socket) return;
    alive(socket);
    let frame;
    try {
      frame = JSON.parse(event.data);
    } catch {
      return;
    }
    if (frame !== null && typeof frame === "object") take(frame);
  };
  socket.onclose = () => {
    if (feed.socket !== socket) return;
    feed.socket = null;
    clearTimeout(feed.watchdog);
    again();
  };
  alive(socket);
}

function alive(socket) {
  clearTimeout(feed.watchdog);
  feed.watchdog = setTimeout(() => {
    if (feed.socket !== socket) return;
    feed.socket = null;
    socket.close();
    again();
  }, SILENT_MS);
}

/** Later each time, and never all clients at once. */
function again() {
  if (feed.timer) return;
  state("away", "connection lost, trying again");
  const longest = Math.min(BACKOFF_MS[1], BACKOFF_MS[0] * 2 ** feed.failures++);
  feed.timer = setTimeout(connect, longest * (0.5 + Math.random() / 2));
}

/** What this page does with each frame; unknown ones are let pass, as frames may be added. */
function take(frame) {
  if (typeof frame.cursor === "string") feed.cursor = frame.cursor;
  switch (frame.type) {
    case "hello":
      feed.failures = 0;
      state("live", "live");
      earlier();
      break;
    case "verdict":
      if (fresh(frame)) queue(frame.verdict);
      break;
    case "stats":
      figures(frame);
      break;
    case "gap":
      notice(gapText(frame));
      break;
    case "bye":
      if (frame.reason === "resync_required" || frame.reason === "bad_request") {
        feed.cursor = null;
        feed.seen.clear();
        notice("The alerts since the connection was lost are no longer there; new ones follow.");
      }
      break;
  }
}

/** Whether this place in the topic was not shown before. */
function fresh({ partition, offset }) {
  if ((feed.seen.get(partition) ?? -1) >= offset) return false;
  feed.seen.set(partition, offset);
  return true;
}

function gapText(frame) {
  if (frame.reason === "missing") return "Verdicts are missing in the topic itself: an operator should look.";
  const some = typeof frame.left_out === "number" ? `${whole.format(frame.left_out)} verdicts were` : "Some verdicts were";
  return `${some} left out: this browser or its connection is slow.`;
}

function askForToken() {
  const hadOne = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  state("away", "token wanted");
  $("token-form").hidden = false;
  $("token-error").textContent = hadOne ? "The server does not know this token." : "";
  $("token").focus();
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  $("token-form").hidden = true;
  connect();
});

// --- Figures ------------------------------------------------------------------------------------------------------

const seconds = [];

function figures(frame) {
  const counts = Object.fromEntries(LEVELS.map((level) => [level, Number(frame.levels?.[level]) || 0]));
  seconds.push({ events: Number(frame.per_second) || 0, alerts: counts.HIGH + counts.CRITICAL, counts });
  if (seconds.length > MINUTE) seconds.shift();
  const recent = seconds.slice(-10);
  $("events").textContent = whole.format(seconds.at(-1).events);
  $("alerts-rate").textContent = short.format(recent.reduce((sum, at) => sum + at.alerts, 0) / recent.length);
  $("total").textContent = whole.format(Number(frame.total) || 0);
  $("clients").textContent = frame.clients === 1 ? "watched by this page alone" : `watched by ${whole.format(Number(frame.clients) || 0)}`;
  line($("events-line"), seconds.map((at) => at.events));
  line($("alerts-line"), seconds.map((at) => at.alerts));
  minute();
}

function line(svg, values) {
  const greatest = Math.max(1, ...values);
  const from = MINUTE - values.length;
  const points = values.map((value, at) => `${(((from + at) / (MINUTE - 1)) * 120).toFixed(1)},${(31 - (value / greatest) * 29).toFixed(1)}`);
  const [polygon, polyline] = svg.children;
  const left = ((from / (MINUTE - 1)) * 120).toFixed(1);
  polyline.setAttribute("points", points.join(" "));
  polygon.setAttribute("points", `${left},32 ${points.join(" ")} 120,32`);
}

const shares = new Map();
for (const level of LEVELS) {
  const name = level === "NONE" ? "invalid" : level.toLowerCase();
  const fill = level === "NONE" ? "none-fill" : `${level}-fill`;
  const share = { bar: make("i", { class: fill }), number: make("dd", {}, "–") };
  $("levels-bar").append(share.bar);
  $("levels").append(make("div", {}, make("dt", {}, make("span", { class: `swatch ${fill}`, "aria-hidden": "true" }), name), share.number));
  shares.set(level, share);
}

function minute() {
  for (const [level, share] of shares) {
    const count = seconds.reduce((sum, at) => sum + at.counts[level], 0);
    share.number.textContent = whole.format(count);
    share.bar.style.flexGrow = String(count);
  }
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => ($("notice").hidden = true), 15_000);
}

// --- The list -----------------------------------------------------------------------------------------------------

const list = { waiting: [], asked: false, drawing: false, shown: 0, paused: false, chosen: null, spoken: { alerts: 0, critical: 0, at: 0 } };

/** What comes faster than it can be drawn pushes out what would scroll away at once. */
function queue(verdict) {
  if (verdict === null || typeof verdict !== "object") return;
  list.waiting.push(verdict);
  if (list.waiting.length > MOST_ROWS) list.waiting.splice(0, list.waiting.length - MOST_ROWS);
  list.spoken.alerts += 1;
  if (verdict.risk_level === "CRITICAL") list.spoken.critical += 1;
  if (list.paused) count();
  else draw();
}

function draw() {
  if (list.drawing) return;
  list.drawing = true;
  // A hidden tab has no frames; its list is still bounded, and up to date when it is looked at.
  if (document.hidden) setTimeout(flush, 250);
  else requestAnimationFrame(flush);
}

function flush() {
  list.drawing = false;
  if (list.paused) return;
  const rows = $("rows");
  const add = document.createDocumentFragment();
  const came = list.waiting.splice(0);
  list.shown += came.length;
  for (const verdict of came.reverse()) add.append(row(verdict));
  rows.prepend(add);
  while (rows.childElementCount > MOST_ROWS) {
    // A row with the keyboard's focus hands it to the list, not to the page's start.
    if (rows.lastElementChild.contains(document.activeElement)) $("alerts").focus();
    rows.lastElementChild.remove();
  }
  $("empty").hidden = rows.childElementCount > 0;
  count();
  speak();
}

/** What was stored before this page was opened goes below; without a database there is nothing to ask for. */
async function earlier() {
  if (list.asked) return;
  list.asked = true;
  try {
    const answer = await ask("/v1/alerts?level=HIGH&limit=50", "GET");
    if (!answer.ok) return;
    const { alerts } = await answer.json();
    const shown = new Set([...$("rows").children, ...list.waiting.map((verdict) => ({ verdict }))].map((line) => line.verdict.verdict_id));
    const room = Math.max(0, MOST_ROWS - $("rows").childElementCount);
    const older = alerts.filter((verdict) => !shown.has(verdict.verdict_id)).slice(0, room);
    $("rows").append(...older.map(row));
    $("empty").hidden = $("rows").childElementCount > 0;
  } catch {
    // The live feed is what this page is about.
  }
}

function row(verdict) {
  const why = verdict.reasons?.[0];
  const at = time(clock, verdict.decided_at);
  const label = `${at}, ${textOf(verdict.risk_level)}, score ${textOf(verdict.risk_score)}, ${textOf(verdict.phone_number)}: show reasons`;
  const open = make("button", { type: "button", "aria-label": label }, at);
  const cells = [
    make("td", {}, open),
    make("td", {}, badge(verdict)),
    make("td", { class: "right" }, textOf(verdict.risk_score)),
    make("td", {}, textOf(verdict.phone_number)),
    make("td", { class: "right" }, money(verdict)),
    make("td", { class: "why" }, textOf(why?.text ?? why?.code)),
  ];
  const line = make("tr", { class: "fresh", "data-id": textOf(verdict.verdict_id) }, ...cells);
  line.verdict = verdict;
  return line;
}

$("rows").addEventListener("click", (event) => {
  const line = event.target.closest("tr");
  if (line) choose(line);
});

function choose(line) {
  list.chosen?.removeAttribute("data-chosen");
  list.chosen?.querySelector("button").removeAttribute("aria-current");
  list.chosen = line;
  line.dataset.chosen = "";
  line.querySelector("button").setAttribute("aria-current", "true");
  show(line.verdict);
}

$("rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  const line = step && event.target.closest("tr")?.[step];
  if (!line) return;
  event.preventDefault();
  line.querySelector("button").focus();
});

function count() {
  const waiting = list.paused && list.waiting.length ? `, ${whole.format(list.waiting.length)} waiting` : "";
  $("count").textContent = `${whole.format(list.shown)} shown since this page was opened${waiting}; the newest ${MOST_ROWS} are kept`;
}

/** For who cannot see the list: a summary now and then, not each row. */
function speak() {
  const { alerts, critical, at } = list.spoken;
  const now = performance.now();
  if (!alerts || now - at < SPEAK_EVERY_MS) return;
  list.spoken = { alerts: 0, critical: 0, at: now };
  $("spoken").textContent = `${alerts} new ${alerts === 1 ? "alert" : "alerts"}, ${critical} critical`;
}

$("pause").addEventListener("click", () => {
  list.paused = !list.paused;
  $("pause").setAttribute("aria-pressed", String(list.paused));
  if (list.paused) count();
  else draw();
});

for (const chip of document.querySelectorAll("[data-level]")) {
  chip.addEventListener("click", () => {
    const next = new Set(levels);
    if (!next.delete(chip.dataset.level)) next.add(chip.dataset.level);
    // No level at all would mean every level to the feed.
    if (next.size === 0) return;
    levels = next;
    chip.setAttribute("aria-pressed", String(levels.has(chip.dataset.level)));
    if (feed.socket?.readyState === WebSocket.OPEN) feed.socket.send(JSON.stringify({ type: "filter", level: [...levels] }));
  });
}

connect();
