"""Pictures of other sites that texts show, fetched for a project whose pictures are `proxied`, and cached on disk."""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.core.cache import cache
from django.utils.translation import gettext as _

from annotation.actions import safe_http
from annotation.logic.image_types import image_type

MAX_BYTES = 5 * 2**20
MAX_PIXELS = 40_000_000
MAX_CACHE_BYTES = 2**30
"""Of all pictures on the disk: beyond it, the oldest are deleted."""
PRUNE_EVERY = 50
"""Pictures that are fetched between two looks at the size of the cache, on average."""
REFUSED_FOR_S = 60
"""How long a failure is remembered, so that a page with a broken picture does not ask for it again and again."""
_HEADERS = {"User-Agent": "Palate", "Accept": "image/png, image/jpeg, image/gif, image/webp"}
_fetches = threading.BoundedSemaphore(8)


class ImageRefused(Exception):
    """Why a picture is not shown, in a sentence."""


class _Busy(ImageRefused):
    """It is not the picture's fault: not remembered."""


class Image(NamedTuple):
    content: bytes
    media_type: str


def fetch_image(*, url: str) -> Image:
    """The picture at an address, from the cache or from its site.

    Raises:
        ImageRefused
    """
    digest = hashlib.sha256(url.encode()).hexdigest()
    path = settings.VAR / "images" / digest[:2] / digest
    try:
        return _checked(path.read_bytes())
    except FileNotFoundError:
        pass
    if reason := cache.get(f"image-refused-{digest}"):
        raise ImageRefused(reason)
    try:
        content = _checked(_get(url)).content
    except _Busy:
        raise
    except ImageRefused as error:
        cache.set(f"image-refused-{digest}", str(error), REFUSED_FOR_S)
        raise
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
    if random.random() < 1 / PRUNE_EVERY:  # noqa: S311
        _prune(settings.VAR / "images")
    return _checked(content)


def _prune(folder: Path) -> None:
    files = [
        (status.st_mtime, status.st_size, path) for path in folder.glob("*/*") if (status := path.stat())
    ]
    excess = sum(size for _time, size, _path in files) - MAX_CACHE_BYTES
    for _time, size, path in sorted(files):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size


def _get(url: str) -> bytes:
    if not _fetches.acquire(timeout=safe_http.TIMEOUT_S):
        raise _Busy(_("This site is fetching too many pictures at once."))
    try:
        status, content = safe_http.get(
            url, _HEADERS, max_bytes=MAX_BYTES + 1, to_private=settings.IMAGES_FROM_PRIVATE
        )
    except safe_http.Refused as error:
        raise ImageRefused(str(error)) from None
    finally:
        _fetches.release()
    if status != 200:
        raise ImageRefused(_("Its site answered %(status)s.") % {"status": status})
    return content


def _checked(content: bytes) -> Image:
    if len(content) > MAX_BYTES:
        raise ImageRefused(_("It is larger than %(n)s MB.") % {"n": MAX_BYTES // 2**20})
    found = image_type(content)
    if found is None:
        raise ImageRefused(_("It is no PNG, JPEG, GIF or WebP picture."))
    if found.width * found.height > MAX_PIXELS:
        raise ImageRefused(_("It has more than %(n)s million pixels.") % {"n": MAX_PIXELS // 1_000_000})
    return Image(content, found.media_type)
