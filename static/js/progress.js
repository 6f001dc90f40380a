// The queue's numbers, live; and a word to the page's other parts when something else happened in the project.
"use strict";

function showQueue(queue) {
  const put = (name, text) => {
    for (const place of document.querySelectorAll(`[data-live="${name}"]`)) place.textContent = text;
  };
  for (const name of ["wanted", "done", "left", "leased", "last_hour"]) put(name, queue[name].toLocaleString("en"));
  put("percent", queue.percent);
  put("eta", queue.eta || "–");
  for (const bar of document.querySelectorAll('[data-live="bar"]')) {
    bar.max = queue.wanted || 1;
    bar.value = queue.done;
  }
  for (const list of document.querySelectorAll('[data-live="working"]')) list.replaceChildren(...people(queue.working));
}

function people(working) {
  if (!working.length) {
    const nobody = document.createElement("li");
    nobody.className = "muted";
    nobody.textContent = "Nobody has submitted anything in the last 15 minutes.";
    return [nobody];
  }
  return working.map((person) => {
    const line = document.createElement("li");
    const avatar = document.createElement("span");
    avatar.className = "avatar";
    avatar.setAttribute("aria-hidden", "true");
    avatar.textContent = person.name.slice(0, 1);
    const count = document.createElement("span");
    count.className = "muted";
    count.textContent = `${person.recent} in 15 minutes`;
    line.append(avatar, `${person.name} `, count);
    return line;
  });
}

const watched = document.querySelector("[data-live-project]");
if (watched) {
  let before = null;
  live(watched.dataset.liveProject, (event) => {
    const queue = event.kind === "queue" ? event.queue : null;
    if (queue) showQueue(queue);
    // the loop's own counts come with the page's next part; the first message tells nothing new
    if (!queue || (before !== null && (queue.done !== before.done || queue.wanted !== before.wanted))) {
      document.body.dispatchEvent(new CustomEvent("projectchanged"));
    }
    if (queue) before = queue;
  });
}
