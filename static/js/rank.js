// The Rank screen. The radio buttons hold the truth; the strip of letters shows the order that they make.
"use strict";

screens.rank = (() => {
  const all = () => answers().map((_, i) => i);
  const radios = (i) => [...answers()[i].querySelectorAll(".answer-head input[type=radio]")];
  const rankOf = (i) => Number(radios(i).find((radio) => radio.checked)?.value ?? 0); // 0: none yet
  const ranks = () => all().map(rankOf);
  const unranked = () => all().filter((i) => !rankOf(i));
  const letter = (i) => letterOf(answers()[i]);
  const here = () => answers().indexOf(current());

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

  function put(next) {
    next.forEach((rank, i) => radios(i).forEach((radio) => (radio.checked = Number(radio.value) === rank)));
    if (marks.remember()) changed();
  }

  function changed() {
    marks.show();
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

  // the whole level of i joins the level above it
  function tieAll(i) {
    const order = levels();
    const at = order.findIndex((level) => level.includes(i));
    order[at - 1].push(...order[at]);
    order.splice(at, 1);
    putLevels(order);
  }

  // --- showing ----------------------------------------------------------------------------------------------

  function show() {
    answers().forEach((answer, i) => answer.classList.toggle("is-ranked", Boolean(rankOf(i))));
    const chips = levels().flatMap((level, place) => level.map((i, n) => chip(i, n ? "=" : place ? ">" : "")));
    document.getElementById("ranked").replaceChildren(...chips);
    document.getElementById("tray").replaceChildren(...unranked().map((i) => chip(i, "")));
    document.getElementById("submit").setAttribute("aria-disabled", String(unranked().length > 0));
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
      item.append(toggle);
    }
    const name = document.createElement("span");
    name.textContent = letter(i);
    item.append(name);
    return item;
  }

  function goToNext(i) {
    const open = unranked();
    const next = open.find((j) => j > i) ?? open[0];
    goTo(answers()[next ?? i]);
  }

  // --- dragging ---------------------------------------------------------------------------------------------

  function makeDraggable(work) {
    for (const strip of work.querySelectorAll(".chips")) {
      new Sortable(strip, {
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
    if (/^[0-9]$/.test(event.key)) {
      const rank = Number(event.key);
      if (rank > answers().length) return false;
      const i = here();
      give(i, rank);
      if (rank) goToNext(i);
      return true;
    }
    if (event.key === "=" && rankOf(here())) tieWithAbove(here());
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") return arrow(event);
    else if (event.key === "Enter") return enter(event);
    else return false;
    return true;
  }

  function arrow(event) {
    if (!event.target.matches(".answer, .answer-head, .answer-head *") || !rankOf(here())) return false;
    move(here(), event.key === "ArrowUp" ? -1 : 1);
    return true;
  }

  function enter(event) {
    if (event.target.closest("button, a, summary") || event.repeat) return false;
    judgeForm().requestSubmit(document.getElementById("submit"));
    return true;
  }

  document.addEventListener("change", (event) => {
    if (screen === screens.rank && event.target.closest(".answer-head")) changed();
  });

  document.addEventListener("click", (event) => {
    const item = event.target.closest("#work .chip");
    if (!item) return;
    const i = Number(item.dataset.i);
    const sign = event.target.closest(".sign")?.textContent;
    if (sign === "=") move(i, 1);
    else if (sign) tieAll(i);
    else goTo(answers()[i]);
  });

  // Nothing is sent before every answer has a rank; the server says the same to a page without scripts.
  function refuses() {
    const open = unranked();
    if (!open.length) return marks.refuses();
    return { text: `Still to rank: ${open.map(letter).join(", ")}.`, at: answers()[open[0]] };
  }

  const started = new WeakSet();

  function start(work) {
    marks.start();
    if (!current().classList.contains("is-current")) mark(answers()[unranked()[0] ?? 0]);
    show();
    if (!started.has(work)) makeDraggable(work);
    started.add(work);
  }

  return { start, key, show, inWords, refuses };
})();
