// A research as it happens: its sources change one by one, and at the end the whole page is there.
import { follow, replace, say } from "./live.js";

follow(document.getElementById("pesquisa"), (step) => {
  if (step.html) replace(step.target, step.html);
  const progress = document.getElementById("progresso");
  if (progress) {
    progress.value = step.settled;
    progress.textContent = `${step.settled} de ${progress.max}`;
  }
  say(step.message, step.state);
});
