// An answer as it is written. The composer stays usable meanwhile; it sends when the answer is there.
import { follow, grow, replace, say } from "./live.js";

const composer = document.getElementById("compor");
const send = document.getElementById("enviar");
let running = Boolean(document.getElementById("conversa")?.dataset.events);

if (composer && running) { composer.hidden = false; send.hidden = true; }
document.addEventListener("submit", (event) => {
  if (!running || event.target !== composer) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

function atEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
}

follow(document.getElementById("conversa"), (step) => {
  const stay = atEnd();
  if (step.rest !== undefined) grow("resposta-viva", step);
  const wait = step.wait !== undefined && document.getElementById("espera");
  if (wait) { wait.textContent = step.wait; wait.hidden = !step.wait; }
  if (step.html) replace(step.target, step.html);
  say(step.message);
  if (step.final) {
    running = false;
    document.getElementById("parar")?.remove();
    if (send) send.hidden = false;
  }
  if (stay) scrollTo({ top: document.documentElement.scrollHeight, behavior: "instant" });
});
