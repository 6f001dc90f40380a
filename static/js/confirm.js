// The dialog before a form is submitted that loses work. data-confirm on the form or its button is the question (base.js);
// data-confirm-act names what is done, by default the button, and data-confirm-keep the way back.
import { gettext } from "./gettext.js";

// Submits the form once the button was pressed that repeats what is about to be done.
export async function confirmSubmit(form, button, question) {
  const act = button?.dataset.confirmAct ?? form.dataset.confirmAct ?? name(button ?? form.querySelector("button:not([type=button])"));
  if (!(await ask(question, act, form.dataset.confirmKeep ?? gettext("Cancel")))) return;
  const now = form.isConnected ? form : sameForm(form); // a live page may have replaced it meanwhile
  if (!now) return;
  now.dataset.confirmed = "";
  now.requestSubmit(button && now.contains(button) ? button : null);
}

const name = (button) => button?.textContent.replaceAll(/\s+/g, " ").trim() || gettext("Continue");

const sameForm = (form) => document.querySelector(`form[data-confirm][action="${CSS.escape(form.getAttribute("action"))}"]`);

// Resolves to whether it was confirmed. The focus is on the other button, `keep`.
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
