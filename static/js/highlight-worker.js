// Highlights code away from the page, which ends this worker if it takes too long.
import hljs from "../vendor/highlight/highlight-11.11.1.min.js";

onmessage = ({ data: { language, code } }) => {
  postMessage({ html: hljs.getLanguage(language) ? hljs.highlight(code, { language, ignoreIllegals: true }).value : null });
};
postMessage({ ready: true });
