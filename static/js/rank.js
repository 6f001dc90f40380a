// The Rank screen. The radio buttons hold the truth; the strip of letters shows the order that they make.
"use strict";

screens.rank = (() => {
  let answers = []; // the cards, in the order shown
  let past = []; // earlier ranks, for undo
  let current = 0; // the card that a digit ranks

  const letter = (i) => answers[i].dataset.letter;
  const radios = (i) => [...answers[i].querySelectorAll("input[type=radio]")];
  const rankOf = (i) => Number(radios(i).find((radio) => radio.checked)?.value ?? 0); // 0: none yet
  const all = () => answers.map((_, i) => i);
  const ranks = () => all().map(rankOf);
  const unranked = () => all().filter((i) => !rankOf(i));

  // the cards from best to worst, ties together
  function levels() {
    const used = [...new Set(ranks().filter(Boolean))].sort((a, b) => a - b);
    return used.map((rank) => all().filter((i) => rankOf(i) === rank));
  }

  function inWords() {
    const order = levels().map((level) => level.map(letter).join(" and ") + (level.length > 1 ? " tied" : ""));
    const open = unranked().map(letter);
    const said = order.length ? `Order: ${order.join(", then ")}.` : "";
    return `${said} ${open.length ? `Not ranked: ${open.join(", ")}.` : "All are ranked."}`.trim();
  }

  // --- changing ---------------------------------------------------------------------------------------------

  let known = []; // the ranks as last shown, to undo a change that a radio button made by itself

  function put(next) {
    next.forEach((rank, i) => radios(i).forEach((radio) => (radio.checked = Number(radio.value) === rank)));
    changed();
  }

  function changed() {
    if (String(ranks()) === String(known)) return;
    past.push(known);
    show();
    say(inWords());
    draftSoon();
  }

  function give(i, rank) {
    const next = ranks();
    next[i] = rank;
    put(next);
  }

  function putLevels(order) {
    const next = ranks().fill(0);
    order.filter((level) => level.length).forEach((level, place) => level.forEach((i) => (next[i] = place + 1)));
    put(next);
  }

  // Past the neighbour: out of a tie first, then past the whole next level.
  function move(i, step) {
    const order = levels();
    const at = order.findIndex((level) => level.includes(i));
    if (order[at].length > 1) {
      order[at] = order[at].filter((j) => j !== i);
      order.splice(step < 0 ? at : at + 1, 0, [i]);
    } else if (order[at + step]) {
      [order[at], order[at + step]] = [order[at + step], order[at]];
    }
    putLevels(order);
  }

  function tieWithAbove(i) {
    const order = levels();
    const at = order.findIndex((level) => level.includes(i));
    if (at < 1) return;
    order[at] = order[at].filter((j) => j !== i);
    order[at - 1].push(i);
    putLevels(order);
  }

  function undo() {
    if (!past.length) return;
    const before = past.pop();
    put(before);
    past.pop(); // an undo is not itself undone
    show();
  }

  // --- showing ----------------------------------------------------------------------------------------------

  function show() {
    known = ranks();
    answers.forEach((answer, i) => answer.classList.toggle("is-ranked", Boolean(known[i])));
    const chips = levels().flatMap((level, place) => level.map((i, n) => chip(i, n ? "=" : place ? ">" : "")));
    document.getElementById("ranked").replaceChildren(...chips);
    document.getElementById("tray").replaceChildren(...unranked().map((i) => chip(i, "")));
    document.getElementById("undo").disabled = !past.length;
    document.getElementById("submit").setAttribute("aria-disabled", String(unranked().length > 0));
    mark(current);
  }

  function chip(i, sign) {
    const item = document.createElement("li");
    item.className = "chip";
    item.dataset.i = i;
    if (sign) {
      const toggle = document.createElement("button");
      toggle.type = "button";
      toggle.className = "sign";
      toggle.tabIndex = -1; // on the keyboard this is the key =
      toggle.textContent = sign;
      toggle.title = sign === "=" ? "Tied. Press to put it behind." : "Press to make it a tie.";
      toggle.addEventListener("click", (event) => {
        event.stopPropagation();
        if (sign === "=") move(i, 1);
        else tieAll(i);
      });
      item.append(toggle);
    }
    const name = document.createElement("span");
    name.textContent = letter(i);
    item.append(name);
    return item;
  }

  // the whole level of i joins the level above it
  function tieAll(i) {
    const order = levels();
    const at = order.findIndex((level) => level.includes(i));
    order[at - 1].push(...order[at]);
    order.splice(at, 1);
    putLevels(order);
  }

  function mark(i) {
    current = i;
    answers.forEach((answer, j) => answer.classList.toggle("is-current", i === j));
  }

  function goToNext(i) {
    const open = unranked();
    const next = open.find((j) => j > i) ?? open[0];
    goTo(answers[next ?? i]);
  }

  // --- dragging ---------------------------------------------------------------------------------------------

  function makeDraggable() {
    for (const id of ["ranked", "tray"]) {
      new Sortable(document.getElementById(id), {
        group: "ranks", draggable: ".chip", filter: ".sign", preventOnFilter: false,
        forceFallback: true, fallbackOnBody: true, fallbackTolerance: 4, animation: 0,
        onEnd: ({ item }) => dropped(Number(item.dataset.i)),
      });
    }
  }

  // Between two that are tied it joins the tie; anywhere else it has its place to itself.
  function dropped(i) {
    const order = [...document.querySelectorAll("#ranked .chip")].map((item) => Number(item.dataset.i));
    const at = order.indexOf(i);
    const before = ranks();
    if (at < 0) return redraw(() => give(i, 0));
    const rank = (j) => (j === undefined ? 0 : before[j]);
    const joins = rank(order[at - 1]) && rank(order[at - 1]) === rank(order[at + 1]);
    const next = [];
    order.forEach((j, n) => {
      const left = order[n - 1];
      const tied = n > 0 && (j === i || left === i ? joins : rank(left) === rank(j));
      if (tied) next.at(-1).push(j);
      else next.push([j]);
    });
    return redraw(() => putLevels(next));
  }

  // a drop that changes nothing has still moved the letters on the page
  function redraw(change) {
    change();
    show();
  }

  // --- events -----------------------------------------------------------------------------------------------

  function key(event) {
    const target = answerByLetter(event.key);
    if (target && !event.shiftKey) {
      goTo(target);
      return true;
    }
    if (/^[0-9]$/.test(event.key)) {
      const rank = Number(event.key);
      if (rank > answers.length) return false;
      const i = current;
      give(i, rank);
      if (rank) goToNext(i);
      return true;
    }
    if (event.key === "u") undo();
    else if (event.key === "=" && rankOf(current)) tieWithAbove(current);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") return arrow(event);
    else if (event.key === "Enter") return enter(event);
    else return false;
    return true;
  }

  function arrow(event) {
    const answer = event.target.closest(".answer");
    if (!answer || !rankOf(current)) return false;
    move(current, event.key === "ArrowUp" ? -1 : 1);
    return true;
  }

  function enter(event) {
    if (event.target.closest("button, a, summary")) return false;
    judgeForm().requestSubmit();
    return true;
  }

  function start(work) {
    answers = [...work.querySelectorAll(".answer")];
    past = [];
    current = 0;
    judgeForm().noValidate = true;
    answers.forEach((answer, i) => answer.addEventListener("focusin", () => mark(i)));
    work.addEventListener("change", changed);
    document.getElementById("undo").addEventListener("click", undo);
    for (const strip of [document.getElementById("ranked"), document.getElementById("tray")]) {
      strip.addEventListener("click", (event) => {
        const item = event.target.closest(".chip");
        if (item) goTo(answers[item.dataset.i]);
      });
    }
    mark(unranked()[0] ?? 0);
    show();
    makeDraggable();
  }

  // Nothing is sent before every answer has a rank; the server says the same to a page without scripts.
  document.addEventListener("submit", (event) => {
    if (event.target !== judgeForm() || work().dataset.kind !== "rank" || !unranked().length) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    say(`Every answer needs a rank. ${inWords()}`);
    toast(`Still to rank: ${unranked().map(letter).join(", ")}.`, "warn");
    goTo(answers[unranked()[0]]);
  }, true);

  return { start, key };
})();
