// What is said of an answer beside its rank: quality, safe or unsafe, flags. And undo, for all that is chosen on a screen.
"use strict";

const marks = (() => {
  const choices = () => [...judgeForm().querySelectorAll("input[type=radio], input[type=checkbox]")];
  const state = () => choices().map((input) => input.checked);

  // --- undo -------------------------------------------------------------------------------------------------

  const pasts = new WeakMap(); // by screen: earlier states, so that a screen that comes back can still be undone
  let known = [];

  const past = () => pasts.get(work()) ?? pasts.set(work(), []).get(work());

  // True where something differs from what was known, which can then be undone.
  function remember() {
    const now = state();
    if (String(now) === String(known)) return false;
    past().push(known);
    known = now;
    return true;
  }

  function undo() {
    if (!past().length) return;
    known = past().pop();
    choices().forEach((input, i) => (input.checked = known[i]));
    show();
    screen.show?.();
    say(`Undone. ${screen.inWords?.() ?? ""}`);
    draftSoon();
  }

  // --- what was chosen --------------------------------------------------------------------------------------

  function of(answer) {
    const value = (name) => answer.querySelector(`input[name^="${name}-"]:checked`)?.value;
    return { quality: value("quality"), safe: value("safe"), flags: answer.querySelectorAll('input[name^="flags-"]:checked').length };
  }

  function choose(answer, name, value) {
    const input = answer.querySelector(`input[name^="${name}-"][value="${value}"]`);
    if (!input) return false;
    input.checked = true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    say(`Answer ${letterOf(answer)}: ${name === "quality" ? `quality ${value} of 7` : value}.`);
    return true;
  }

  function show() {
    for (const answer of answers()) {
      const count = answer.querySelector("[data-count]");
      if (count) count.textContent = of(answer).flags || "";
      answer.classList.toggle("is-unsafe", of(answer).safe === "unsafe");
    }
    const button = document.getElementById("undo");
    if (button) button.disabled = !past().length;
  }

  // The letters of the answers that lack a mark which was asked for.
  function lacking(name) {
    return answers().filter((answer) => answer.querySelector(`input[name^="${name}-"]`) && !of(answer)[name]);
  }

  // Why a submit would be refused, and where to mend it; the server says the same.
  function refuses() {
    for (const [name, what] of [["quality", "needs a quality from 1 to 7"], ["safe", "is to be called safe or unsafe"]]) {
      const open = lacking(name);
      if (open.length) return { text: `Every answer ${what}; missing: ${open.map(letterOf).join(", ")}.`, at: open[0] };
    }
    const rationale = judgeForm().querySelector("#rationale[required]");
    if (rationale && !rationale.value.trim()) return { text: "Say in a few words why.", at: rationale };
    return null;
  }

  // --- keys -------------------------------------------------------------------------------------------------

  function toggleFlags(answer) {
    const flags = answer?.querySelector("details.flags");
    if (!flags) return false;
    flags.open = !flags.open;
    if (flags.open) flags.querySelector("input").focus();
    else answer.focus({ preventScroll: true });
    return true;
  }

  function key(event) {
    const answer = current();
    if (!answer) return false;
    const digit = event.shiftKey && /^Digit([1-7])$/.exec(event.code);
    if (digit) return choose(answer, "quality", digit[1]);
    if (event.key === "Escape" && event.target.closest("details.flags")) return toggleFlags(answer);
    switch (event.key.toLowerCase()) {
      case "y": return choose(answer, "safe", "safe");
      case "n": return choose(answer, "safe", "unsafe");
      case "f": return toggleFlags(answer);
      case "u": undo(); return true;
      default: return false;
    }
  }

  document.addEventListener("change", (event) => {
    if (!event.target.closest("#judge") || !event.target.matches("[type=radio], [type=checkbox]")) return;
    if (remember()) show();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("#undo")) undo();
    // another one's flags close when these open, so that the page stays short
    const opened = event.target.closest("details.flags");
    if (opened) for (const one of work().querySelectorAll("details.flags[open]")) if (one !== opened) one.open = false;
  });

  function start() {
    judgeForm().noValidate = true;
    known = state();
    show();
  }

  return { start, key, remember, refuses, show };
})();
