"""Downloads the files of a data set of the catalogue; nothing else in fedsim fetches one."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

from fedsim.data.catalogue_entries import (
    CatalogueEntry,
    RemoteFile,
    catalogue_folder,
    checksums_in,
    sha256_of,
    write_checksums,
)
from fedsim.errors import DataError, Unreachable

__all__ = ["Report", "download", "from_mirror"]

Report = Callable[[RemoteFile, int, int | None], None]
"""Is told of a file how many bytes are here, and of how many, if that is known."""

_BROKEN = (
    urllib.error.URLError,
    http.client.HTTPException,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
)
_CHUNK = 1 << 18
_SECONDS = 30.0
"""How long a server may be silent."""


def from_mirror(entry: CatalogueEntry, mirror: str) -> CatalogueEntry:
    """Return the entry with its files where ``mirror`` has them under the same names."""
    base = mirror.rstrip("/")
    files = [replace(file, url=f"{base}/{quote(file.name)}") for file in entry.files]
    return replace(entry, files=tuple(files))


def download(entry: CatalogueEntry, report: Report) -> Path:
    """Bring the files of ``entry`` here, those that are not here already; return their folder.

    What came before a connection broke is kept, and asked for no more.  A file without a known
    checksum is taken as it comes first; what comes later must be the same.

    Raises:
        DataError: if a file is not there, or not what it must be.
        Unreachable: if the server does not answer, or the connection breaks.
    """
    folder = catalogue_folder() / entry.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checksums = checksums_in(folder)
        for file in entry.files:
            path, expected = folder / file.name, file.sha256 or checksums.get(file.name)
            if path.is_file() and file.name in checksums and sha256_of(path) == expected:
                continue
            checksums[file.name] = _brought(file, path, expected, report)
            write_checksums(folder, checksums)
    except OSError as error:
        raise DataError(f"{folder} cannot be written to: {error}") from error
    return folder


def _brought(file: RemoteFile, path: Path, expected: str | None, report: Report) -> str:
    """Download one file to ``path``, and return its SHA-256."""
    part = path.with_name(f"{path.name}.part")
    total = _received(file, part, report)
    size = part.stat().st_size
    if total is not None and size < total:
        raise Unreachable(
            f"{file.url} was cut off after {size:,} of {total:,} bytes: the same command goes on"
        )
    checksum = sha256_of(part)
    is_other = expected is not None and checksum != expected
    if is_other or (file.bytes is not None and size != file.bytes):
        _forget(part)
        here = f"{size:,} bytes with the SHA-256 {checksum[:12]}"
        there = f"{expected[:12]}" if expected else f"{file.bytes:,} bytes"
        raise DataError(f"{file.url} gave {here}, where {there} is expected: it is dropped")
    part.replace(path)
    _tag(part).unlink(missing_ok=True)
    return checksum


def _received(file: RemoteFile, part: Path, report: Report) -> int | None:
    """Append to ``part`` what the server has beyond it; return how long it all is, if known."""
    begun = part.stat().st_size if part.is_file() and _tag(part).is_file() else 0
    if begun and begun == file.bytes:
        return begun
    try:
        with _opened(file, begun, part) as response:
            is_rest = response.status == 206
            begun = begun if is_rest else 0
            rest = response.headers.get("Content-Length")
            total = begun + int(rest) if rest else file.bytes
            if not is_rest:
                _forget(part)
            if mark := response.headers.get("ETag") or response.headers.get("Last-Modified"):
                _tag(part).write_text(mark, encoding="utf-8")
            with part.open("ab" if is_rest else "wb") as out:
                while chunk := response.read(_CHUNK):
                    out.write(chunk)
                    begun += len(chunk)
                    report(file, begun, total)
            return total
    except urllib.error.HTTPError as error:
        if error.code == 416 and part.is_file():  # what is here is no beginning of it
            _forget(part)
            return _received(file, part, report)
        raise DataError(f"{file.url} answers {error.code} {error.reason}") from error
    except _BROKEN as error:
        size = part.stat().st_size if part.is_file() else 0
        kept = f"; {size:,} bytes are kept, and the same command goes on" if size else ""
        reason = getattr(error, "reason", None) or error
        raise Unreachable(f"{file.url} is not to be had: {reason}{kept}") from error


def _opened(file: RemoteFile, begun: int, part: Path) -> HTTPResponse:
    """Ask for a file from byte ``begun`` on; all of it comes if it is another one by now."""
    if urlsplit(file.url).scheme not in ("http", "https"):
        raise DataError(f"{file.url} is no web address")
    headers = {"User-Agent": "fedsim", "Accept-Encoding": "identity"}
    if begun:
        mark = _tag(part).read_text(encoding="utf-8")
        headers |= {"Range": f"bytes={begun}-", "If-Range": mark}
    request = urllib.request.Request(file.url, headers=headers)
    response: HTTPResponse = urllib.request.urlopen(request, timeout=_SECONDS)
    return response


def _tag(part: Path) -> Path:
    """Return where a server's mark of a file's version is kept: a rest must be of the same one."""
    return part.with_name(f"{part.name}.tag")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)
