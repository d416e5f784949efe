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
