// How a verdict is written on the page, in short and whole: its facts, reasons, signals and features.
//
// Invariant: what a record says becomes text, never markup. It knows neither the feed nor the list: page.js has them.

export const LEVELS = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "NONE"];

export const $ = (id) => document.getElementById(id);
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** An element with text or children; attributes by name. Text stays text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

export const textOf = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));
const levelOf = (verdict) => (LEVELS.includes(verdict.risk_level) ? verdict.risk_level : "none");
const words = (name) => String(name).replaceAll("_", " ");
export const money = (verdict) => (typeof verdict.amount === "number" ? `${exact.format(verdict.amount)} ${textOf(verdict.currency)}` : "–");
export const time = (format, text) => (Number.isNaN(Date.parse(text)) ? "–" : format.format(new Date(text)));
export const badge = (verdict) => make("span", { class: `badge ${levelOf(verdict)}` }, textOf(verdict.risk_level));

// --- One alert ----------------------------------------------------------------------------------------------------

/** What each feature means, by name; until it is here, and without it, the names alone will do. */
let meanings = new Map();

fetch("/console/features.json")
  .then((answer) => answer.json())
  .then((all) => (meanings = new Map(all.map((feature) => [feature.name, feature]))))
  .catch(() => {});

/** Fills the pane beside the list. */
export function show(verdict) {
  $("detail-hint").hidden = true;
  const score = make("div", { class: "verdict" }, make("p", { class: "number" }, textOf(verdict.risk_score)), badge(verdict), make("strong", {}, textOf(verdict.recommendation)));
  const parts = [score, facts(verdict), ...reasons(verdict), ...signals(verdict), ...features(verdict), raw(verdict)];
  $("detail-body").replaceChildren(...parts);
  $("detail-body").hidden = false;
  if (matchMedia("(max-width: 62rem)").matches) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("detail").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
  }
}

function facts(verdict) {
  const model = verdict.model ? `${textOf(verdict.model.name)} ${textOf(verdict.model.version)}` : "–";
  const known = [
    ["Phone", verdict.phone_number],
    ["Amount", money(verdict)],
    ["Transaction", verdict.transaction_id],
    ["Institution", verdict.institution_id],
    ["Happened", time(full, verdict.event_time)],
    ["Decided", `${time(full, verdict.decided_at)}, within ${textOf(verdict.processing_time_ms)} ms`],
    ["Verdict", verdict.verdict_id],
    ["Model", model],
    ["Policy", verdict.policy_version],
  ];
  if (verdict.flags?.length) known.push(["Flags", verdict.flags.map(words).join(", ")]);
  return make("dl", { class: "facts" }, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, textOf(value))]));
}

function reasons(verdict) {
  const all = Array.isArray(verdict.reasons) ? verdict.reasons : [];
  if (!all.length) return [];
  const greatest = Math.max(...all.map((reason) => Math.abs(Number(reason.contribution)) || 0), 1e-9);
  const items = all.map((reason) => {
    const item = make("li", {}, make("p", {}, textOf(reason.text ?? reason.code)), make("p", { class: "code" }, textOf(reason.code)));
    if (typeof reason.contribution === "number") item.append(meter(Math.abs(reason.contribution) / greatest));
    return item;
  });
  return [make("h3", {}, "Reasons, the strongest first"), make("ul", { class: "reasons", id: "reasons", role: "list" }, ...items)];
}

function signals(verdict) {
  if (!verdict.signals) return [];
  const rows = Object.entries(verdict.signals).flatMap(([name, value]) => {
    const known = typeof value === "number";
    return [make("span", {}, words(name)), meter(known ? value : 0), make("span", { class: "right" }, known ? value.toFixed(2) : "–")];
  });
  return [make("h3", {}, "Signals, from 0 to 1"), make("div", { class: "signals", id: "signals" }, ...rows)];
}

function features(verdict) {
  const entries = Object.entries(verdict.features ?? {});
  if (!entries.length) return [make("p", { class: "small" }, "This server's verdicts do not carry their features (verdict.features).")];
  const rows = entries.map(([name, value]) => {
    const known = meanings.get(name);
    const number = typeof value === "number" ? exact.format(value) : "missing";
    return make("tr", {}, make("th", { scope: "row" }, words(name)), make("td", { class: "right" }, number), make("td", {}, known ? `${known.unit}: ${known.meaning}` : ""));
  });
  const heads = ["Feature", "Value", "Meaning"].map((name) => make("th", { scope: "col", class: name === "Value" ? "right" : null }, name));
  const table = make("table", { class: "features", id: "features" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return [make("h3", {}, "What the model saw"), table];
}

function raw(verdict) {
  return make("details", {}, make("summary", {}, "The verdict as it is on the topic"), make("pre", { tabindex: "0" }, JSON.stringify(verdict, null, 2)));
}

function meter(share) {
  const fill = make("i");
  fill.style.width = `${Math.round(Math.min(1, Math.max(0, share)) * 100)}%`;
  return make("div", { class: "meter", "aria-hidden": "true" }, fill);
}
