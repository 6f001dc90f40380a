// The queue's numbers, live, and an event for the page's other parts when anything else happens in the project.
import { gettext } from "./gettext.js";
import { openLiveSocket } from "./live-socket.js";

function showQueue(queue) {
  const setText = (name, text) => {
    for (const element of document.querySelectorAll(`[data-live="${name}"]`)) element.textContent = text;
  };
  for (const name of ["total", "done", "left", "leased", "last_hour"]) setText(name, queue[name].toLocaleString(document.documentElement.lang));
  setText("percent", queue.percent);
  setText("eta", queue.eta || "–");
  setText("outlook", queue.outlook);
  for (const link of document.querySelectorAll('[data-live="remind"]')) link.hidden = !queue.needs_people;
  for (const bar of document.querySelectorAll('[data-live="bar"]')) {
    bar.max = queue.total || 1;
    bar.value = queue.done;
  }
  for (const list of document.querySelectorAll('[data-live="working"]')) list.replaceChildren(...listOfPeople(queue.working));
}

function listOfPeople(working) {
  if (!working.length) {
    const nobody = document.createElement("li");
    nobody.className = "muted";
    nobody.textContent = gettext("Nobody has judged or opened an item in the last 15 minutes.");
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
    count.textContent = person.recent ? gettext("%(number)s in 15 minutes", { number: person.recent }) : gettext("has an item open");
    line.append(avatar, `${person.name} `, count);
    return line;
  });
}

const page = document.querySelector("[data-project-socket]");
if (page) {
  let previous = null;
  openLiveSocket(page.dataset.projectSocket, (event) => {
    const queue = event.kind === "queue" ? event.queue : null;
    if (queue) showQueue(queue);
    // the loop's own counts come with the page's next part; the first message only repeats what the page shows
    if (!queue || (previous !== null && (queue.done !== previous.done || queue.total !== previous.total || queue.needs_people !== previous.needs_people))) {
      document.body.dispatchEvent(new CustomEvent("projectchanged"));
    }
    if (queue) previous = queue;
  });
}
