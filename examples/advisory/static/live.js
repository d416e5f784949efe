// Follows a page's events live. Without this file the page works too: it reloads itself while something happens.
// A browser opens six connections to a host. At most three pages hold a stream; the others ask every two seconds.
const SLOTS = 3;
let source = null;
let release = null;
let timer = 0;
let seen = 0;
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
  calm();
  show(step);
  if (step.final) { ended = true; leave(); }
}

function address(path) {
  const url = new URL(path, location.href);
  if (seen) url.searchParams.set("depois", seen);
  return url;
}

// What the visitor reads while the page is cut off. A moment, such as a deploy, is not worth a word.
const AWAY = "Salvando… reconectando";
let note = null;
let patience = 0;

function tell(text, href) {
  if (!note || note.textContent === text) return;
  note.hidden = !text;
  note.textContent = text;
  if (text && href) note.innerHTML = `<a href="${href}">${text}</a>`; // both are ours
}

function calm() {
  if (!navigator.onLine) return; // an answer that was on its way
  clearTimeout(patience);
  patience = 0;
  tell("");
}

function worry() {
  patience ||= setTimeout(() => tell(AWAY), 3000);
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
  let again = 2000;
  try {
    const answer = await fetch(address(place.dataset.steps), { headers: { accept: "application/json" } });
    if (answer.status === 401 || answer.status === 404) { // signed out, or deleted elsewhere
      ended = true;
      calm();
      tell("A sessão terminou ou a página mudou. Recarregue para continuar.", location.pathname);
      return;
    }
    if (answer.ok) {
      for (const step of await answer.json()) take(step);
      calm();
    } else {
      worry();
      again = Math.min(15, Number(answer.headers.get("retry-after")) || 2) * 1000;
    }
  } catch { worry(); }
  if (!ended && !document.hidden) timer = setTimeout(connect, again);
}

// The browser reconnects by itself after a lost connection, but not after an answer such as 503: then we ask why.
async function connect() {
  if (ended || source || joining || document.hidden) return;
  joining = true;
  const mine = await slot();
  joining = false;
  if (!mine) { poll(); return; }
  if (document.hidden) { leave(); return; }
  source = new EventSource(address(place.dataset.events));
  source.addEventListener("passo", (event) => take(JSON.parse(event.data)));
  source.addEventListener("espera", (event) => { // the database is away, or back
    if (JSON.parse(event.data).away) tell(AWAY);
    else calm();
  });
  source.addEventListener("open", calm);
  source.addEventListener("error", () => {
    worry();
    if (source?.readyState !== EventSource.CLOSED) return;
    leave();
    timer = setTimeout(poll, 1000);
  });
}

// Hands each step of the element's stream (data-events; data-steps without one) to `onStep`, until a final one.
export function follow(element, onStep) {
  if (!element?.dataset.events) return;
  place = element;
  show = onStep;
  note = document.createElement("p");
  note.className = "away";
  note.hidden = true;
  note.setAttribute("role", "status");
  (document.getElementById("situacao") ?? element).after(note);
  if (!navigator.onLine) worry();
  connect();
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : connect()));
  addEventListener("pagehide", leave);
  addEventListener("offline", worry);
  addEventListener("online", () => { if (!ended) { leave(); connect(); } }); // the old connection may be dead without a word
  addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
}
