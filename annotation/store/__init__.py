"""The store: the files that web and workers exchange, as objects named by their SHA-256, in a folder or in a bucket.

Rows hold URIs, `store:<scope>/<sha256>`; where that is, is a setting (ARTIFACT_STORE), so a site that moves copies the
objects and changes no row.
"""

from annotation.store.errors import MissingObject, StoreError, WrongHash
from annotation.store.file_store import FileStore
from annotation.store.folders import StoredFile, folder_file, folder_files, get_folder, put_folder
from annotation.store.objects import digest, read_chunks, uri_of
from annotation.store.stores import Store, holds_job_folders, scratch_file, store

__all__ = [
    "FileStore",
    "MissingObject",
    "Store",
    "StoreError",
    "StoredFile",
    "WrongHash",
    "digest",
    "folder_file",
    "folder_files",
    "get_folder",
    "holds_job_folders",
    "put_folder",
    "read_chunks",
    "scratch_file",
    "store",
    "uri_of",
]
