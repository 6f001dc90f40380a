"""Asking the Hugging Face hub whether it has a model, before one of its models enters the registry.

Only the machine that trains downloads it; this one asks so that a misspelled name is said at once, not by a run that fails.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from training.configs import HUB_MODEL
from training.errors import RunError

TIMEOUT_S = 8.0
MAX_BYTES = 10_000_000
"""Of the hub's description of a model, which lists all of its files."""


def check_hub_model(location: str) -> None:
    """Check that the hub shows this site the model of a location `hub:org/name@revision`, with safe weights. Other locations
    pass; with `HF_HUB_OFFLINE` all do.

    The hub is that of `HF_ENDPOINT`, asked with `HF_TOKEN`, as the libraries do that download from it.

    Raises:
        RunError: it has no such model or does not show it to this site, the weights are pickled, it has custom code, or the
            hub did not answer.
    """
    if settings.HF_HUB_OFFLINE or not HUB_MODEL.fullmatch(location):
        return
    name, _at, revision = location.removeprefix("hub:").rpartition("@")
    try:
        model = _ask(name, revision)
    except urllib.error.HTTPError as error:
        raise RunError("location", _refusal(error.code) % {"model": name, "revision": revision}) from None
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        text = _(
            "The hub %(hub)s does not answer this site (%(reason)s), so that nobody has looked whether it has this model."
        )
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        raise RunError("location", text % {"hub": settings.HF_ENDPOINT, "reason": reason}) from None
    if model["config"].get("auto_map"):
        text = _("%(location)s has custom code (auto_map): that is not run here.")
        raise RunError("location", text % {"location": location})
    files = [str(file.get("rfilename", "")) for file in model["siblings"] if isinstance(file, dict)]
    if not any(file.endswith(".safetensors") for file in files):
        text = _("%(location)s has no safetensors: pickled weights can run code, and are not loaded here.")
        raise RunError("location", text % {"location": location})


def _ask(name: str, revision: str) -> dict[str, Any]:
    """The hub's description of a model, with its `config` and `siblings`, the files.

    Raises:
        OSError, HTTPException, ValueError, RecursionError: nobody answers, or no hub does.
    """
    address = f"{settings.HF_ENDPOINT}/api/models/{name}/revision/{quote(revision, safe='')}"
    request = urllib.request.Request(address)  # noqa: S310
    if token := os.environ.get("HF_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S) as response:
        model = json.loads(response.read(MAX_BYTES))
    config, files = (
        (model.get(name) for name in ("config", "siblings")) if isinstance(model, dict) else ("", "")
    )
    if not isinstance(config, dict | None) or not isinstance(files, list | None):
        raise ValueError(_("not with the description of a model"))
    return {"config": config or {}, "siblings": files or []}


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, as to the new name of a model; another server gets no token."""

    def redirect_request(self, req: urllib.request.Request, *args: Any) -> urllib.request.Request | None:
        request = super().redirect_request(req, *args)
        if request is not None and urlsplit(request.full_url)[:2] != urlsplit(req.full_url)[:2]:
            request.remove_header("Authorization")
        return request


def _refusal(status: int) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return _("The hub has no %(model)s at %(revision)s. Is it spelled as on its page?")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _(
            "The hub does not show %(model)s to this site: there is none of that name, or it is private or gated, and HF_TOKEN"
            " names no account that may read it."
        )
    return _("The hub could not say whether it has %(model)s: it answered with an error of its own.")
