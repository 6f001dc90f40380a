// A picture that cannot be shown says so: its description, its address, and the reason.
import { gettext } from "./gettext.js";

const IMAGE = ".prose a.image > img";

async function explain(image) {
  const link = image.parentElement;
  const reason = await reasonFor(image);
  const note = document.createElement("span");
  note.className = "image-reason";
  note.textContent = ` ${gettext("(Not shown. %(reason)s)", { reason })}`;
  const address = document.createElement("span");
  address.className = "image-address";
  address.textContent = link.href;
  const description = image.alt && image.alt !== link.href ? [`${image.alt} `] : [];
  link.replaceChildren(...description, address);
  link.after(note);
}

// This site names its reason; of another one a browser tells none.
async function reasonFor(image) {
  const { origin, hostname } = new URL(image.src);
  if (origin !== location.origin) return gettext("Your browser could not load it from %(hostname)s.", { hostname });
  try {
    const response = await fetch(image.src);
    if (response.status === 422) return await response.text();
    return response.ok ? gettext("Your browser cannot show it.") : gettext("This site answered %(status)s.", { status: response.status });
  } catch {
    return gettext("There is no connection.");
  }
}

document.addEventListener("error", (event) => event.target.matches?.(IMAGE) && explain(event.target), true);
for (const image of document.querySelectorAll(IMAGE)) if (image.complete && !image.naturalWidth && image.currentSrc) explain(image);
