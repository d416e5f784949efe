// Keeps the changing part of the fault panel current. Without this file the page reloads itself while a fault is on.
async function look() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/falhas/agora", { headers: { accept: "text/html" } });
      const old = document.getElementById("agora");
      if (answer.ok && !old.contains(document.activeElement)) {
        const box = document.createElement("template");
        box.innerHTML = await answer.text();
        old.replaceWith(box.content.firstElementChild);
      }
    } catch { /* the next second may do better */ }
  }
  setTimeout(look, 1000);
}
setTimeout(look, 1000);
