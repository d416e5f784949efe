// Follows a council live. Without this file the page works too: it reloads itself while the council runs.
const council = document.getElementById("conselho");

function replace(id, html) {
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

function say(text, state) {
  const status = document.getElementById("situacao");
  if (state) status.className = `banner ${state}`;
  if (text && status.textContent.trim() !== text) status.textContent = text;
}

let source = null;
let seen = 0;
let tries = 20;

// The browser goes on by itself after a lost connection, but not after an answer such as 503: then we do.
function follow() {
  const address = new URL(council.dataset.events, location.href);
  if (seen) address.searchParams.set("depois", seen);
  source = new EventSource(address);
  source.addEventListener("passo", (event) => {
    const step = JSON.parse(event.data);
    seen = step.seq;
    tries = 20;
    if (step.html) replace(step.target, step.html);
    const progress = document.getElementById("progresso");
    if (progress && step.settled !== undefined) {
      progress.value = step.settled;
      progress.textContent = `${step.settled} de ${progress.max}`;
    }
    say(step.message, step.state);
    if (step.final) source.close();
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED && tries-- > 0) setTimeout(follow, 3000);
  });
}

if (council?.dataset.events) {
  follow();
  addEventListener("pagehide", () => source.close());
}
