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

if (council?.dataset.events) {
  const source = new EventSource(council.dataset.events);
  source.addEventListener("passo", (event) => {
    const step = JSON.parse(event.data);
    if (step.html) replace(step.target, step.html);
    const progress = document.getElementById("progresso");
    if (progress && step.settled !== undefined) {
      progress.value = step.settled;
      progress.textContent = `${step.settled} de ${progress.max}`;
    }
    say(step.message, step.state);
    if (step.final) source.close();
  });
  addEventListener("pagehide", () => source.close());
}
