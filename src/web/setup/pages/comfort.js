// Comfort only: every page is whole without it.
"use strict";
(() => {
  // In the language of the page, as the words of every element are.
  const say = document.currentScript.dataset;
  const before = document.querySelector("main").innerHTML.replace(/name="t" value="[^"]*"/g, "");
  const make = (words, act) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet small";
    button.textContent = words;
    button.addEventListener("click", () => act(button));
    return button;
  };
  const flash = (button, words) => {
    const before = button.textContent;
    button.textContent = words;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  // One touch marks all of what is to be copied.
  for (const field of document.querySelectorAll("[data-copy-field]")) field.addEventListener("focus", () => field.select());
  // A copy button beside what is to be typed somewhere else.
  for (const place of document.querySelectorAll("[data-copy]")) {
    const text = place.textContent.trim();
    const button = make(say.sayCopy, (button) => {
      const old = () => {
        const area = document.createElement("textarea");
        area.value = text;
        document.body.append(area);
        area.select();
        const done = document.execCommand("copy");
        area.remove();
        flash(button, done ? say.sayCopied : say.sayByHand);
      };
      // Without HTTPS browsers keep the clipboard to themselves.
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => flash(button, say.sayCopied), old);
      else old();
    });
    button.setAttribute("aria-label", say.sayCopy + " " + text.slice(0, 60));
    place.append(" ", button);
  }
  // The browser knows where it is.
  const zone = document.querySelector("[data-guess=zone]");
  if (zone && zone.value === "Etc/UTC") {
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if ([...zone.options].some((option) => option.value === here)) zone.value = here;
  }
  const code = document.querySelector("input.code");
  if (code) code.addEventListener("input", () => {
    const plain = code.value.toUpperCase().replace(/[^A-Z0-9]/g, "").slice(0, 8);
    if (code.selectionStart === code.value.length) code.value = plain.length > 4 ? plain.slice(0, 4) + "-" + plain.slice(4) : plain;
  });
  for (const field of document.querySelectorAll("[data-show]")) {
    const button = make(say.sayShow, () => {
      const hidden = field.type === "password";
      field.type = hidden ? "text" : "password";
      button.textContent = hidden ? say.sayHide : say.sayShow;
    });
    const label = document.querySelector("label[for=" + field.id + "]");
    button.setAttribute("aria-label", say.sayShowOrHide + ": " + (label ? label.textContent : ""));
    const around = document.createElement("div");
    around.className = "with-show";
    const focused = document.activeElement === field;
    field.replaceWith(around);
    around.append(field, button);
    if (focused) field.focus();
  }
  for (const button of document.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => window.print());
  }
  // What takes its time says so, and is not sent twice.
  for (const form of document.forms) form.addEventListener("submit", () => {
    setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; }, 0);
    form.setAttribute("aria-busy", "true");
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of document.forms) {
      form.removeAttribute("aria-busy");
      for (const button of form.querySelectorAll("button")) button.disabled = false;
    }
  });
  // Looks again by itself, and shows the page anew only when something has changed.
  const seconds = Number(document.body.dataset.look);
  if (seconds) setInterval(async () => {
    const reply = await fetch(location.href, { cache: "no-store" }).catch(() => null);
    if (!reply || !reply.ok) return;
    const next = new DOMParser().parseFromString(await reply.text(), "text/html");
    const words = (page) => (page.querySelector("main") || page.body).innerHTML.replace(/name="t" value="[^"]*"/g, "");
    if (words(next) !== before) location.reload();
  }, seconds * 1000);
  const wrong = document.querySelector("[aria-invalid=true]");
  if (wrong) wrong.focus();
})();
