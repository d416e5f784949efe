// Follows a page's events live. Without this file the page works too: it reloads itself while something happens.
// A browser opens six connections to a host. At most three pages hold a stream; the others ask every two seconds.
const SLOTS = 3;
let source = null;
let release = null;
let timer = 0;
let seen = 0;
let tries = 20;
let ended = false;
let joining = false;
let place = null;
let show = null;

export function replace(id, html) {
  const old = document.getElementById(id);
  if (!old) return;
  const box = document.createElement("template");
  box.innerHTML = html; // rendered and sanitised by the server, and the page's policy runs no script from it
  const hadFocus = old.contains(document.activeElement);
  const open = new Set([...old.querySelectorAll("details[open]")].map((each) => each.id));
  const fresh = box.content.firstElementChild;
  old.replaceWith(fresh);
  for (const each of fresh.querySelectorAll("details")) if (open.has(each.id)) each.open = true;
  if (hadFocus) fresh.querySelector("[tabindex='-1']")?.focus();
}

// A text that grows: finished paragraphs come as HTML, and only when there are more of them; the rest as text.
export function grow(id, step) {
  const live = document.getElementById(id);
  if (!live) return;
  live.hidden = false;
  if (step.done !== undefined) live.firstElementChild.innerHTML = step.done;
  live.lastElementChild.textContent = step.rest;
}

export function say(text, state) {
  const status = document.getElementById("situacao");
  if (state) status.className = `banner ${state}`;
  if (text && status.textContent.trim() !== text) status.textContent = text;
}

function take(step) {
  seen = step.seq;
  tries = 20;
  show(step);
  if (step.final) { ended = true; leave(); }
}

function address(path) {
  const url = new URL(path, location.href);
  if (seen) url.searchParams.set("depois", seen);
  return url;
}

function leave() {
  source?.close();
  source = null;
  clearTimeout(timer);
  release?.();
  release = null;
}

async function slot() {
  if (!navigator.locks) return true;
  for (let n = 0; n < SLOTS; n++) {
    const got = await new Promise((answer) => {
      navigator.locks.request(`fluxo-${n}`, { ifAvailable: true }, (lock) => {
        if (!lock) { answer(false); return undefined; }
        return new Promise((free) => { release = free; answer(true); });
      });
    });
    if (got) return true;
  }
  return false;
}

async function poll() {
  try {
    const answer = await fetch(address(place.dataset.steps), { headers: { accept: "application/json" } });
    if (answer.ok) for (const step of await answer.json()) take(step);
  } catch { /* the next round may do better */ }
  if (!ended && !document.hidden) timer = setTimeout(connect, 2000);
}

// The browser reconnects by itself after a lost connection, but not after an answer such as 503: then we do.
async function connect() {
  if (ended || source || joining || document.hidden) return;
  joining = true;
  const mine = await slot();
  joining = false;
  if (!mine) { poll(); return; }
  if (document.hidden) { leave(); return; }
  source = new EventSource(address(place.dataset.events));
  source.addEventListener("passo", (event) => take(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    if (source?.readyState !== EventSource.CLOSED) return;
    leave();
    if (tries-- > 0) timer = setTimeout(connect, 3000);
  });
}

// Hands each step of the element's stream (data-events; data-steps without one) to `onStep`, until a final one.
export function follow(element, onStep) {
  if (!element?.dataset.events) return;
  place = element;
  show = onStep;
  connect();
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : connect()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}
