// Small comforts for forms: Enter sends the question, and nothing is sent twice.
for (const area of document.querySelectorAll("textarea[data-enter]")) {
  area.addEventListener("keydown", (event) => {
    if (event.repeat || event.key !== "Enter" || event.shiftKey || event.isComposing || !matchMedia("(pointer: fine)").matches) return;
    event.preventDefault();
    area.form.requestSubmit();
  });
}
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    const button = form.querySelector("button[type=submit], button:not([type])");
    // after the browser has collected the fields
    setTimeout(() => { button.disabled = true; }, 0);
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  for (const button of document.querySelectorAll("form[data-once] button[disabled]")) button.disabled = false;
});
document.querySelector("[data-focus]")?.focus();
addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details:not([open])")) { each.open = true; each.dataset.printed = ""; }
});
addEventListener("afterprint", () => {
  for (const each of document.querySelectorAll("details[data-printed]")) { each.open = false; delete each.dataset.printed; }
});
// Copy buttons exist only where something can be copied; they are delegated, since a council's page changes while it runs.
function copies(root) {
  if (navigator.clipboard) for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
}
copies(document);
new MutationObserver((changes) => {
  for (const change of changes) for (const node of change.addedNodes) if (node.querySelectorAll) copies(node.parentNode ?? node);
}).observe(document.getElementById("conteudo"), { childList: true, subtree: true });
addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  const text = button && document.querySelector(button.dataset.copy)?.innerText;
  if (!text) return;
  const before = button.innerHTML;
  try {
    await navigator.clipboard.writeText(text.trim());
    button.textContent = "Copiado";
  } catch { button.textContent = "Não foi possível copiar"; }
  setTimeout(() => { button.innerHTML = before; }, 2000);
});
