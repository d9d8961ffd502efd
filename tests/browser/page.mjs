// Drives the first page in headless Chromium, for tests/console.rs: `node page.mjs SCENARIO URL [TOKEN]`.
// It tells how far it is by lines on stdout, waits for lines on stdin, and fails with a sentence on stderr.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { SENTRA_BROWSER_HOME: home, SENTRA_CHROMIUM: executablePath } = process.env;
const require = createRequire(`${home}/package.json`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PATIENCE = 60_000;
const [scenario, address, token] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (line) => process.stdout.write(`${line}\n`);
const told = async (line) => check((await lines.next()).value === line, `waited for the line "${line}"`);

function check(holds, what) {
  if (!holds) throw new Error(what);
}

/** A page that writes down every error it meets, but those of a server that is away on purpose. */
async function open(browser, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("console", (message) => {
    const of = `${message.type()}: ${message.text()}`;
    if (["error", "warning"].includes(message.type())) errors.push(of);
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith("data:")) errors.push(`asked ${request.url()}`);
  });
  return { context, page, errors };
}

async function accessible(page, when) {
  // The page's own policy lets no script in; the test's comes past it.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  const bad = violations.filter(({ impact }) => impact !== "minor");
  const told = bad.map(({ impact, id, nodes }) => `${impact} ${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  check(bad.length === 0, `axe-core, ${when}: ${told.join("; ")}`);
}

const connected = (page, state) => page.waitForSelector(`#connection[data-state="${state}"]`);

async function live(browser) {
  const { page, errors } = await open(browser);
  await page.goto(address);
  await connected(page, "live");
  await page.click("#rows tr button");
  await page.waitForSelector("#reasons li");
  check((await page.locator("#signals .meter").count()) === 4, "four signals");
  check((await page.locator("#features tbody tr").count()) === 24, "24 features");
  const meaning = await page.locator("#features tbody tr td:last-child").first().textContent();
  check(meaning.length > 10, `a feature says what it means, not "${meaning}"`);
  await page.waitForFunction(() => /[1-9]/.test(document.getElementById("total").textContent));
  await page.keyboard.press("ArrowDown");
  check(await page.evaluate(() => document.activeElement.closest("#rows tr") !== null), "arrows move between alerts");
  await accessible(page, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, "dark");
  await page.setViewportSize({ width: 380, height: 800 });
  await accessible(page, "narrow");
  check(errors.length === 0, `no errors: ${errors.join("; ")}`);

  say("ready");
  await connected(page, "away");
  say("away");
  await connected(page, "live");
  const newest = () => page.locator("#rows tr").first().getAttribute("data-id");
  const before = await newest();
  await page.waitForFunction((id) => document.querySelector("#rows tr").dataset.id !== id, before);
  const ids = await page.locator("#rows tr").evaluateAll((rows) => rows.map((row) => row.dataset.id));
  check(new Set(ids).size === ids.length, "no alert is shown twice");
  await told("over");
}

async function guarded(browser) {
  const { context, page } = await open(browser);
  await page.goto(address);
  await page.waitForSelector("#token-form:not([hidden])");
  await accessible(page, "token wanted");
  await page.fill("#token", "not-the-token-at-all");
  await page.click("#token-form button");
  await page.waitForFunction(() => document.getElementById("token-error").textContent.includes("does not know"));
  await page.fill("#token", token);
  await page.click("#token-form button");
  await connected(page, "live");
  check(!page.url().includes(token), "the token is not in the address");
  check((await context.cookies()).length === 0, "and in no cookie");
  await page.reload();
  await connected(page, "live");
}

/** What a record says may be anything, and may come at any rate. */
async function hostile(browser) {
  const { page, errors } = await open(browser);
  const nasty = `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>`;
  const verdict = (offset) => ({
    verdict_id: `log-0-${offset}`, risk_score: 99, risk_level: "CRITICAL", recommendation: nasty, phone_number: nasty,
    transaction_id: nasty, institution_id: nasty, amount: 1, currency: nasty, decided_at: "never", event_time: {},
    reasons: [{ code: nasty, text: nasty, contribution: "x" }], signals: { [nasty]: nasty }, features: { [nasty]: nasty },
    flags: [nasty], model: { name: nasty }, source: null,
  });
  await page.route("**/v1/alerts**", (route) => route.fulfill({ json: { alerts: [], next_cursor: null } }));
  await page.routeWebSocket("**/v1/feed**", (socket) => {
    const send = (frame) => socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
    send({ type: "hello", cursor: "c" });
    ["", "null", "[]", "{", '{"type":"new_kind"}', '{"type":"verdict","partition":0,"offset":-1,"verdict":null}'].forEach(send);
    for (let offset = 0; offset < 5_000; offset += 1) send({ type: "verdict", partition: 0, offset, verdict: verdict(offset) });
    for (let offset = 0; offset < 5_000; offset += 1) send({ type: "verdict", partition: 0, offset, verdict: verdict(offset) });
    for (let second = 0; second < 200; second += 1) send({ type: "stats", per_second: 7, levels: { HIGH: 2, NONE: "x" }, total: second, cursor: "c" });
    send({ type: "gap", reason: "slow", left_out: 12 });
  });
  await page.goto(address);
  await page.waitForFunction(() => document.querySelector("#rows tr")?.dataset.id === "log-0-4999");
  check((await page.locator("#rows tr").count()) === 200, "the list is bounded");
  check((await page.locator("#notice").textContent()).includes("12 verdicts were left out"), "a gap is told");
  const points = await page.locator("#events-line polyline").getAttribute("points");
  check(points.split(" ").length === 60, "the line is bounded");
  await page.click("#rows tr button");
  await page.waitForSelector("#reasons li");
  check((await page.locator("#reasons").textContent()).includes("<img src=x"), "what a record says is text");
  check((await page.evaluate(() => window.hurt)) === undefined, "and never markup");
  check((await page.locator("main img, main script").count()) === 0, "not even harmless markup");
  check(errors.length === 0, `no errors: ${errors.join("; ")}`);
}

const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });
try {
  await { live, guarded, hostile }[scenario](browser);
  say("done");
} catch (error) {
  process.stderr.write(`${scenario}: ${error.stack ?? error}\n`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
process.exit();
