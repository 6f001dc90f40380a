// Forms that act on what changes in them (data-submit-on-change), and those that ask first: data-confirm, on the form or its button,
// is the question; data-confirm-act names what is done, by default the button, and data-confirm-keep the way back.
import { gettext } from "./gettext.js";

const asked = new WeakSet();

// Before htmx and other listeners, which see the submit only after it was confirmed.
document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    const button = event.submitter;
    const question = button?.dataset.confirm ?? form.dataset.confirm;
    if (!question || asked.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const act = button?.dataset.confirmAct ?? form.dataset.confirmAct ?? name(button ?? form.querySelector("button:not([type=button])"));
    ask(question, act, form.dataset.confirmKeep ?? gettext("Cancel")).then((confirmed) => {
      if (!confirmed) return;
      const now = form.isConnected ? form : sameForm(form); // a live page may have replaced it meanwhile
      if (!now) return;
      asked.add(now);
      now.requestSubmit(button && now.contains(button) ? button : null);
    });
  },
  true,
);

const name = (button) => button?.textContent.replaceAll(/\s+/g, " ").trim() || gettext("Continue");

const sameForm = (form) => document.querySelector(`form[data-confirm][action="${CSS.escape(form.getAttribute("action"))}"]`);

// Resolves to whether the button was pressed that repeats what is about to be done. The focus is on the other one, `keep`.
function ask(question, act, keep) {
  const dialog = createElement("dialog", "dialog confirm");
  dialog.setAttribute("role", "alertdialog");
  dialog.setAttribute("aria-labelledby", "confirm-title");
  dialog.setAttribute("aria-describedby", "confirm-text");
  const title = createElement("h2", "", act);
  title.id = "confirm-title";
  const text = createElement("p", "", question);
  text.id = "confirm-text";
  const cancel = createElement("button", "button", keep);
  const confirm = createElement("button", "button danger", act);
  const [body, foot] = [createElement("div", "dialog-body stack tight"), createElement("div", "dialog-foot")];
  body.append(title, text);
  foot.append(cancel, confirm);
  dialog.append(body, foot);
  cancel.addEventListener("click", () => dialog.close());
  confirm.addEventListener("click", () => dialog.close("confirmed"));
  document.body.append(dialog);
  dialog.showModal();
  cancel.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "confirmed");
    });
  });
}

function createElement(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

document.addEventListener("change", (event) => {
  event.target.closest("form[data-submit-on-change]")?.requestSubmit();
});

// addresses without empty filters
document.addEventListener("formdata", (event) => {
  if (!event.target.matches("form[data-submit-on-change][method=get]")) return;
  const empty = Array.from(event.formData).filter((entry) => entry[1] === "");
  for (const [field] of empty) event.formData.delete(field);
});
