// The page: it draws the state that it came with, then asks for state.json every second. Whatever comes from there is put in as text, never as markup.
"use strict";

const $ = id => document.getElementById(id);
const svgNS = "http://www.w3.org/2000/svg";

// html and svg make an element with attributes; children that are no elements become text.
function fill(e, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children.map(c => c instanceof Node ? c : String(c)));
  return e;
}
const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(svgNS, tag), attributes, children);

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let u = 0;
  while (n >= 1024 && u < units.length - 1) { n /= 1024; u++; }
  return (u === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[u];
}
const number = n => Number(n).toLocaleString("en");
const percent = x => (100 * x).toFixed(1) + " %";
function seconds(s) {
  if (s < 1) return Math.round(1000 * s) + " ms";
  if (s < 120) return s.toFixed(1) + " s";
  if (s < 7200) return Math.round(s / 60) + " min";
  return Math.round(s / 3600) + " h";
}
const of = (n, limit, show) => show(n) + (limit ? " of " + show(limit) : "");

// table fills a table: columns are [head, cell of a row, class]. A cell is text or [text, class].
function table(id, columns, rows, none) {
  const head = html("tr", {}, ...columns.map(c => html("th", { scope: "col", class: c[2] || "" }, c[0])));
  const body = rows.map(r => html("tr", {}, ...columns.map(c => {
    const cell = c[1](r), [text, kind] = Array.isArray(cell) ? cell : [cell, c[2] || ""];
    return html("td", { class: kind, title: text }, text);
  })));
  if (!rows.length) body.push(html("tr", {}, html("td", { class: "empty", colspan: columns.length }, none)));
  $(id).replaceChildren(html("thead", {}, head), html("tbody", {}, ...body));
}

// squarify divides a rectangle among items by their sizes, the largest first, in rows of boxes that are about square.
function squarify(items, x, y, w, h) {
  const out = [];
  let total = items.reduce((sum, i) => sum + i.size, 0), from = 0;
  while (from < items.length && total > 0 && w > 0 && h > 0) {
    const short = Math.min(w, h), scale = w * h / total;
    let sum = 0, best = Infinity, to = from;
    while (to < items.length) {
      const next = sum + items[to].size, depth = next * scale / short;
      const last = items[to].size * scale / depth, first = items[from].size * scale / depth;
      const worst = Math.max(first / depth, depth / last);
      if (worst > best) break;
      best = worst; sum = next; to++;
    }
    const depth = sum * scale / short;
    let at = 0;
    for (let i = from; i < to; i++) {
      const length = items[i].size * scale / depth;
      out.push(w >= h ? [items[i], x, y + at, depth, length] : [items[i], x + at, y, length, depth]);
      at += length;
    }
    if (w >= h) { x += depth; w -= depth; } else { y += depth; h -= depth; }
    total -= sum; from = to;
  }
  return out;
}

function kindOf(b) {
  if (b.kind === "cache") return "cache";
  if (b.kind === "area" || b.kind === "hash" || b.kind === "locktable") return "area";
  return b.kind === "segment" || b.kind === "segments" ? "segment" : "other";
}

const describe = b => (b.name ? b.kind + " " + b.name : b.kind) + (b.handle ? ", " + b.handle : ", " + b.count + " segments") + ", " +
  bytes(b.size) + (b.handle ? ", " + b.refs + " references" : "") + (b.pinned ? ", pinned" : "") +
  (b.state !== "live" ? ", " + b.state : "") + (b.creator ? ", made by " + b.creator : "");

function memory(blocks) {
  const map = $("treemap"), w = map.clientWidth || 800, h = map.clientHeight || 300;
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.handle : undefined;
  map.setAttribute("viewBox", "0 0 " + w + " " + h);
  const boxes = squarify([...blocks].filter(b => b.size > 0).sort((a, b) => b.size - a.size), 0, 0, w, h);
  map.replaceChildren(...boxes.map(([b, x, y, bw, bh]) => {
    const g = svg("g", { class: kindOf(b), role: "listitem", tabindex: "0", "aria-label": describe(b) },
      svg("rect", { x, y, width: bw, height: bh }));
    g.dataset.handle = b.handle;
    if (bw > 60 && bh > 18) {
      const fits = Math.floor((bw - 8) / 7), label = b.name || b.handle || b.kind;
      g.append(svg("text", { x: x + 4, y: y + 14 }, label.length > fits ? label.slice(0, fits - 1) + "…" : label));
      if (bh > 34) g.append(svg("text", { x: x + 4, y: y + 29 }, bytes(b.size)));
    }
    const show = () => { $("block").textContent = describe(b); };
    g.addEventListener("focus", show);
    g.addEventListener("pointerenter", show);
    return g;
  }));
  if (focused !== undefined) for (const g of map.children) if (g.dataset.handle === focused) { g.focus({ preventScroll: true }); break; }
}

const who = p => "pid " + p.pid + (p.state ? " [" + p.state + "]" : "") + (p.application ? " " + p.application : "") + (p.note ? " “" + p.note + "”" : "");

// graph draws who waits for whom: a process is as far right as the longest chain of waits that ends in it.
function graph(waits) {
  const g = $("graph"), nodes = new Map();
  g.style.display = waits.length ? "" : "none";
  const node = p => { const k = who(p); if (!nodes.has(k)) nodes.set(k, { k, depth: 0, holds: false }); return nodes.get(k); };
  const edges = waits.slice(0, 60).map(e => ({ from: node(e.waiter), to: node(e.holder), name: e.name }));
  for (const e of edges) e.to.holds = true;
  for (let round = 0; round < nodes.size; round++) { // in a cycle it ends, too
    let moved = false;
    for (const e of edges) if (e.to.depth < e.from.depth + 1 && e.from.depth + 1 < 4) { e.to.depth = e.from.depth + 1; moved = true; }
    if (!moved) break;
  }
  const columns = [[], [], [], []];
  for (const n of nodes.values()) columns[n.depth].push(n);
  const used = columns.filter(c => c.length), w = Math.max(g.clientWidth || 500, 150 * used.length), step = w / Math.max(used.length, 1);
  used.forEach((c, i) => c.forEach((n, k) => { n.x = i * step + 4; n.y = 8 + k * 46; }));
  const h = 16 + 46 * Math.max(0, ...used.map(c => c.length)), box = Math.min(step - 50, 220);
  g.setAttribute("viewBox", "0 0 " + w + " " + h);
  g.style.height = h + "px";
  g.replaceChildren(
    svg("defs", {}, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8z" }))),
    ...edges.map(e => svg("line", { x1: e.from.x + box, y1: e.from.y + 15, x2: e.to.x, y2: e.to.y + 15, "marker-end": "url(#tip)" }, svg("title", {}, e.name))),
    ...[...nodes.values()].map(n => svg("g", { class: n.holds ? "holds" : "" },
      svg("rect", { x: n.x, y: n.y, width: box, height: 30, rx: 4 }),
      svg("text", { x: n.x + 6, y: n.y + 19 }, n.k.length > box / 7 ? n.k.slice(0, box / 7 - 1) + "…" : n.k), svg("title", {}, n.k))));
}

const past = new Map(); // of each cache: [hits, lookups] at each look

function caches(list) {
  for (const name of past.keys()) if (!list.some(c => c.name === name)) past.delete(name);
  $("curves").replaceChildren(...list.filter(c => !c.error).map(c => {
    const seen = past.get(c.name) || [];
    seen.push([c.hits, c.hits + c.misses]);
    if (seen.length > 120) seen.shift();
    past.set(c.name, seen);
    const rates = [];
    for (let i = 1; i < seen.length; i++) {
      const lookups = seen[i][1] - seen[i - 1][1];
      if (lookups > 0) rates.push([i / 120, (seen[i][0] - seen[i - 1][0]) / lookups]);
    }
    const line = (points, kind) => svg("polyline", { class: kind, points: points.map(([x, y]) => (4 + 192 * x) + "," + (84 - 78 * Math.min(Math.max(y, 0), 1))).join(" ") });
    const model = c.curve.map(p => [(Math.log2(p.Times) + 1) / 3, p.HitRate]); // a half to four times
    const lookups = c.hits + c.misses, rate = lookups ? percent(c.hits / lookups) : "no lookups";
    const text = c.name + ": " + rate + (model.length ? "; " + c.curve.map(p => p.Times + "× " + percent(p.HitRate)).join(", ") : "");
    return html("figure", {}, svg("svg", { viewBox: "0 0 200 90", role: "img", "aria-label": text },
      svg("line", { class: "axis", x1: 4, y1: 84, x2: 196, y2: 84 }), svg("line", { class: "axis", x1: 4, y1: 6, x2: 196, y2: 6 }),
      line(model, "model"), line(rates, "now")), html("figcaption", {}, text));
  }));
  table("t-caches", [["Name", c => c.name], ["Used", c => c.error ? [c.error, "bad"] : of(c.used, c.limit, bytes), "n"], ["Entries", c => number(c.entries), "n"],
    ["Hits", c => c.hits + c.misses ? percent(c.hits / (c.hits + c.misses)) : "–", "n"], ["Lookups", c => number(c.hits + c.misses), "n"], ["Evicted", c => number(c.evicted), "n"]], list, "no caches");
}

function figures(s) {
  const i = s.instance, c = i.counters;
  const refused = c.joins_refused + c.lock_refused + Object.values(c.refused).reduce((a, b) => a + b, 0);
  $("figures").replaceChildren(...[
    ["Sessions", of(i.sessions, i.maxSessions, number)], ["Segments", of(i.segments, i.maxSegments, number)], ["Memory", of(i.bytes, i.maxBytes, bytes)],
    ["Reserved region", i.reserved ? of(i.reservedUsed, i.reserved, bytes) : "none"], ["Generation", number(i.generation)],
    ["Creates, attaches", number(c.creates) + ", " + number(c.attaches)], ["Reclaims", number(c.reclaims)], ["Refusals", number(refused)],
  ].map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

function draw(s) {
  const bad = s.error ? s.error : !s.instance.supervised ? "no supervisor lives" : s.instance.closing ? "the instance is being stopped" : "";
  $("status").className = bad ? "bad" : "";
  const text = bad || "supervised by process " + s.instance.supervisor + ", backend " + s.instance.backend;
  if ($("status").textContent !== text) $("status").textContent = text;
  table("t-events", [["When", e => new Date(e.time).toLocaleString()], ["What", e => [e.kind, /^(died|refused)/.test(e.kind) ? "bad" : ""]], ["Event", e => e.text]], s.events, "no events");
  if (s.error) return;
  $("where").textContent = s.instance.dir;
  document.title = "godsm " + s.instance.dir;
  $("trouble").replaceChildren(...s.trouble.map(t => html("li", {}, t)));
  figures(s);
  memory(s.memory);
  table("t-sessions", [["Session", p => p.name], ["Pid", p => p.pid, "n"], ["Application", p => p.application], ["State", p => [p.state, p.state === "running" ? "" : "bad"]],
    ["Holds", p => number(p.segments), "n"], ["Bytes", p => bytes(p.bytes), "n"], ["Creates", p => number(p.creates), "n"], ["Attaches", p => number(p.attaches), "n"],
    ["Refused", p => number(p.refused), "n"], ["Since", p => seconds((s.time - p.started) / 1000), "n"]], s.sessions, "no sessions");
  graph(s.waits);
  const parties = [];
  for (const l of s.locks) {
    for (const p of l.holders) parties.push([l, "holds", p]);
    for (const p of l.waiters) parties.push([l, "waits", p]);
    if (l.died) parties.push([l, l.died + (l.died_below ? " died below it" : " died with it"), null]);
  }
  table("t-locks", [["Lock", r => r[0].table + ": " + r[0].name], ["", r => r[1]], ["For", r => r[2] ? seconds(r[2].seconds) : "–", "n"],
    ["Who", r => r[2] ? [who(r[2]), r[2].state ? "bad" : ""] : "–"], ["Mode", r => r[2] ? r[2].mode : "–"]], parties, "no locks are held");
  caches(s.caches);
  table("t-queues", [["Name", q => q.name], ["Waiting", q => q.error ? [q.error, "bad"] : of(q.waiting, q.slots, number), "n"], ["In flush", q => number(q.flushing), "n"],
    ["Oldest", q => seconds(q.oldest), "n"], ["Commands", q => number(q.commands), "n"], ["Failed", q => number(q.failed), "n"], ["Leader", q => q.leader || "–"], ["Trouble", q => [q.trouble || "–", q.trouble ? "bad" : ""]]], s.queues, "no queues");
}

let paused = false, last = null;
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Go on" : "Pause";
});

function show(state) {
  last = state;
  draw(last);
  document.body.dataset.drawn = (Number(document.body.dataset.drawn) || 0) + 1;
}

async function look() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch("state.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(await answer.text());
      show(await answer.json());
    } catch (e) {
      $("status").className = "bad";
      $("status").textContent = "no answer: " + e.message;
    }
  }
  setTimeout(look, 1000);
}
addEventListener("resize", () => { if (last && !last.error) memory(last.memory); });
setTimeout(look, 1000);
show(JSON.parse($("first").textContent)); // the state that came with the page
