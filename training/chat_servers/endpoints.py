"""Where a model of the registry, or of another server, answers."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from asgiref.sync import sync_to_async
from django.utils.translation import gettext as _

from annotation.store import MissingObject, StoreError, get_folder
from training.chat_servers.client import Endpoint
from training.chat_servers.errors import ChatServerError
from training.chat_servers.local import serve_model
from training.errors import RunError
from training.models import ModelVersion
from training.registry.model_sources import check_location, check_server, folder_of, served_folder
from training.server_protocol import api_key

KEPT_FOLDERS = 16
"""Models of the store whose files stay on this machine for the servers, at most."""


async def endpoint_of(version: ModelVersion) -> Endpoint:
    """Where a model version answers; its server is started on this machine if there is none.

    Raises:
        ChatServerError: its files are not there, or it cannot be served.
    """
    model = await sync_to_async(model_on_this_machine, thread_sensitive=False)(version)
    return await serve_model(model)


def server_endpoint(url: str, model: str) -> Endpoint:
    """Where a model of one of `MODEL_SERVERS` answers, with the API key as runs send it.

    Raises:
        ChatServerError: the administrator does not allow that server.
    """
    try:
        check_server(url)
    except RunError as error:
        raise ChatServerError(str(error), retriable=False) from None
    return Endpoint(url, model, key=api_key(url))


def model_on_this_machine(version: ModelVersion) -> Path | str:
    """What the server loads of a model version: a folder, to which its files are fetched from the store, or a hub's model.

    Raises:
        ChatServerError: its files are not there.
    """
    if version.removed_at is not None:
        text = _("The files of %(model)s were removed.")
        raise ChatServerError(text % {"model": version}, retriable=False)
    try:
        if version.location.startswith("store:"):
            return _fetch(version.location)
        check_location(version.location)
        return folder_of(version.location) if version.location.startswith("file:") else version.location
    except (RunError, MissingObject) as error:
        raise ChatServerError(str(error), retriable=False) from None
    except StoreError as error:
        raise ChatServerError(str(error), retriable=True) from None


def _fetch(location: str) -> Path:
    """The folder of a model of the store, fetched unless it is here. Folders that were not used for longest go."""
    folder = served_folder(location)
    if folder.is_dir():
        os.utime(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "fetch.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            get_folder(location, folder)
        os.utime(folder)
        folders = [path for path in folder.parent.iterdir() if path.is_dir()]
        for unused in sorted(folders, key=lambda path: path.stat().st_mtime)[:-KEPT_FOLDERS]:
            shutil.rmtree(unused)  # a server that has loaded it does not need it any more
    return folder
