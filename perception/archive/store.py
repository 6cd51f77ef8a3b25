"""Store: a folder on this machine or a place in an object store, by fsspec."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from fsspec.core import split_protocol, url_to_fs

from perception.archive.error import ArchiveError
from perception.system.atomic_file import sync_folder, write_atomically
from perception.system.error_text import text_of
from perception.system.redaction import redacted_line, redacted_url

T = TypeVar("T")

PACKAGES: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""By scheme, what fsspec needs for it."""
SCHEMES: Final = (*PACKAGES, "http", "https", "file")


def scheme_of(address: str) -> str:
    """In front of `://`; `file` without one."""
    return (split_protocol(address)[0] or "file").lower()


def opened(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ArchiveError: for a scheme that is not known, or whose package is missing.
    """
    scheme = scheme_of(address)
    if scheme not in SCHEMES:
        raise ArchiveError(
            f"{redacted_url(address)}: {scheme}:// is not supported; "
            f"a path, s3://, gs://, az:// or http(s):// is expected"
        )
    try:
        file_system, path = url_to_fs(address, **options_of(scheme))
    except ImportError as error:
        package = PACKAGES.get(scheme, "aiohttp")
        raise ArchiveError(f"{scheme}:// needs {package}: pip install {package} ({text_of(error)})") from None
    except Exception as error:
        raise ArchiveError(f"{redacted_url(address)}: {reason(error)}") from None
    return file_system, str(path)


def options_of(scheme: str) -> dict[str, Any]:
    """For fsspec: what is listed is always what is there now."""
    if scheme in ("s3", "s3a"):
        return {"use_listings_cache": False, "config_kwargs": {"retries": {"max_attempts": 4}}}
    return {} if scheme == "file" else {"use_listings_cache": False}


def reason(error: BaseException) -> str:
    """Why a store did not do what it was asked to, in a line without secrets."""
    names = {type(each).__name__ for each in _causes(error)}
    if names & {"NoCredentialsError", "CredentialRetrievalError", "PartialCredentialsError"}:
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    if isinstance(error, FileNotFoundError):
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError):
            return f"cannot be reached: {redacted_line(text_of(cause))}"
        return "does not exist"
    if isinstance(error, PermissionError):
        return f"access is denied ({redacted_line(text_of(error))})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return redacted_line(" ".join(text_of(error).split()))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class Store:
    """Where results go; paths are relative to it and have `/`."""

    def __init__(self, address: str) -> None:
        """Raises ArchiveError, as of `opened`."""
        self.address = address.rstrip("/") or address
        self.files, root = opened(address)
        self._root = root.rstrip("/") or "/"
        self.is_local: Final = scheme_of(address) == "file"

    def __str__(self) -> str:
        return redacted_url(self.address)

    def folder(self, *parts: str) -> Path:
        """Of a store on this machine."""
        return Path(self._root, *parts)

    def path(self, relative: str) -> str:
        """For `files`."""
        return f"{self._root}/{relative}"

    def read(self, relative: str) -> bytes | None:
        """The content; None if there is none. Raises ArchiveError."""
        try:
            return bytes(self.files.cat_file(self.path(relative)))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            raise ArchiveError(f"{self}/{relative}: cannot be read: {reason(error)}") from None

    def write(self, relative: str, content: bytes) -> None:
        """Write it whole or not at all; raises ArchiveError."""

        def write() -> None:
            if not self.is_local:
                self.files.pipe_file(self.path(relative), content)
                return
            file = self.folder(relative)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, content)

        self.tried(f"{relative}: cannot be written", write)

    def sizes(self, folder: str, names: Iterable[str]) -> dict[str, int] | None:
        """Sizes of files in a folder, of those that are there; None where asking for them takes long."""
        if not self.is_local:
            return None
        files = (self.folder(folder, name) for name in names)
        return {file.name: file.stat().st_size for file in files if file.is_file()}

    def remove(self, relative: str) -> None:
        """Remove a file that may not be there; raises ArchiveError."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self.files.rm_file(self.path(relative))

        self.tried(f"{relative}: cannot be removed", remove)

    def folders_with(self, name: str, under: str) -> list[str]:
        """Folders below `under` that hold a file of that name, relative to it; raises ArchiveError."""

        def find() -> list[str]:
            try:
                found = list(map(str, self.files.find(root)))
            except FileNotFoundError:
                return []
            return sorted(path[len(root) + 1 : -len(name) - 1] for path in found if path.endswith(f"/{name}"))

        root = self.path(under)
        return self.tried(f"{under}: cannot be read", find)

    def put_folder(self, folder: Path, relative: str, last: str, ours: Collection[str]) -> None:
        """Move a local folder's files to a place in the store, so that `last` is there only with all others.

        Args:
            ours: names of files that earlier results may have had; others that stand there are kept.

        Raises:
            ArchiveError: if that fails.
        """
        if self.is_local:
            target = self.folder(relative)
            self.tried(f"{relative}: cannot be written", lambda: self._rename(folder, target, last, ours))
            return

        def put() -> None:
            for file in sorted(folder.iterdir(), key=lambda each: (each.name == last, each.name)):
                self.files.put_file(str(file), self.path(f"{relative}/{file.name}"))

        with suppress(FileNotFoundError):
            self.files.rm_file(self.path(f"{relative}/{last}"))
        self.tried(f"{relative}: cannot be written", put)
        shutil.rmtree(folder, ignore_errors=True)

    def _rename(self, folder: Path, target: Path, last: str, ours: Collection[str]) -> None:
        for file in folder.iterdir():
            with file.open("rb") as content:
                os.fsync(content.fileno())
        sync_folder(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.replace(folder, target)
            sync_folder(target.parent)
            return
        if not target.is_dir() or not (target / last).is_file():
            raise ArchiveError(f"{target}: already exists, and holds no results of ours; move it away")
        before = folder.with_name(f"{folder.name}.before")
        os.replace(target, before)
        os.replace(folder, target)
        for other in before.iterdir():  # what somebody else has put there
            if other.name not in ours:
                os.replace(other, target / other.name)
        shutil.rmtree(before, ignore_errors=True)

    def tried(self, what: str, act: Callable[[], T]) -> T:
        """What `act` gives; raises ArchiveError for its errors."""
        try:
            return act()
        except ArchiveError:
            raise
        except Exception as error:
            raise ArchiveError(f"{self}/{what}: {reason(error)}") from None


def version_of(facts: dict[str, Any]) -> str:
    """What changes with a file's content, of fsspec's `info`."""
    for name in ("ETag", "etag", "content_md5", "md5Hash", "mtime", "LastModified", "last_modified"):
        if value := facts.get(name):
            return str(round(value * 1e9) if isinstance(value, float) else value).strip('"')
    return ""
