// The answer of a trial: the page that has it replaces the one that waits.
import { follow } from "./live.js";

follow(document.getElementById("experimento"), (step) => { if (step.final) location.reload(); });
