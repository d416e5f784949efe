// A council as it happens: cards change one by one, the synthesis grows, and at the end the whole page is there.
import { follow, grow, replace, say } from "./live.js";

follow(document.getElementById("conselho"), (step) => {
  if (step.html) replace(step.target, step.html);
  if (step.rest !== undefined) grow("sintese-viva", step);
  const progress = document.getElementById("progresso");
  if (progress && step.settled !== undefined) {
    progress.value = step.settled;
    progress.textContent = `${step.settled} de ${progress.max}`;
  }
  say(step.message, step.state);
});
