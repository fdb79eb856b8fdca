"""Files of the catalogue come over a loopback server: right, wrong, cut off, resumed, absent."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.data.catalogue_entries import (
    CatalogueEntry,
    RemoteFile,
    catalogue,
    checksums_in,
    entry_named,
    local_files,
    sha256_of,
)
from fedsim.data.download import download, from_mirror
from fedsim.errors import DataError, Unreachable

CONTENT = bytes(range(256)) * 4096
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Site:
    """What a server has, and how it misbehaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut_after: int | None = None
    """Bytes, after which the connection ends."""
    takes_ranges: bool = True
    has_marks: bool = True
    requests: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path / "kept"))
    here = Site(files={"a.bin": CONTENT})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/").replace("%20", " ")
            here.requests.append((name, self.headers.get("Range")))
            if name not in here.files:
                return self.send_error(404)
            content = here.files[name]
            mark, begin = f'"{hashlib.sha256(content).hexdigest()[:8]}"', 0
            wanted = self.headers.get("Range")
            if wanted and here.takes_ranges and self.headers.get("If-Range") == mark:
                begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin and begin >= len(content):
                return self.send_error(416)
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(len(content) - begin))
            if here.has_marks:
                self.send_header("ETag", mark)
            self.end_headers()
            self.wfile.write(content[begin : here.cut_after])
            return None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield here
    server.shutdown()
    server.server_close()
    thread.join()


def entry(site: Site, **facts: object) -> CatalogueEntry:
    file = RemoteFile(f"{site.url}/a.bin")
    known = replace(file, **facts)  # type: ignore[arg-type]
    return CatalogueEntry(
        "some", "", "classification", "", "", "", reader="idx", files=(known,), rows=1
    )


def get(of: CatalogueEntry) -> Path:
    return download(of, lambda *_: None) / "a.bin"


def test_a_file_comes_once_and_its_checksum_is_written_down(site: Site) -> None:
    shown: list[tuple[int, int | None]] = []
    of = entry(site, sha256=SHA, bytes=len(CONTENT))
    folder = download(of, lambda file, received, total: shown.append((received, total)))
    assert (folder / "a.bin").read_bytes() == CONTENT
    assert shown[-1] == (len(CONTENT), len(CONTENT))
    assert checksums_in(folder) == {"a.bin": SHA}
    assert local_files(of) == {"a.bin": folder / "a.bin"}
    assert sorted(path.name for path in folder.iterdir()) == ["a.bin", "sha256.json"]
    get(of)
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"sha256": "0" * 64}, "where 000000000000 is expected: it is dropped"),
        ({"bytes": 7}, "where 7 bytes is expected"),
    ],
)
def test_another_file_than_the_catalogue_knows_is_dropped(
    site: Site, facts: dict[str, object], message: str
) -> None:
    of = entry(site, **facts)
    with pytest.raises(DataError, match=message):
        get(of)
    with pytest.raises(DataError, match="some is not here: run fedsim data get some"):
        local_files(of)
    assert not [*Path(local_folder()).glob("some/a.bin*")]


def local_folder() -> str:
    from fedsim.data.catalogue_entries import catalogue_folder

    return str(catalogue_folder())


def test_what_came_before_a_cut_is_not_asked_for_again(site: Site) -> None:
    of = entry(site, sha256=SHA)
    site.cut_after = 500_000
    with pytest.raises(Unreachable, match=r"500,000 (of|bytes are kept)"):
        get(of)
    site.cut_after = None
    assert get(of).read_bytes() == CONTENT
    assert site.requests == [("a.bin", None), ("a.bin", "bytes=500000-")]


def test_a_cut_is_noticed_where_the_checksum_is_unknown(site: Site) -> None:
    site.cut_after = 10
    with pytest.raises(Unreachable):
        get(entry(site))
    site.cut_after = None
    assert sha256_of(get(entry(site))) == SHA


@pytest.mark.parametrize(
    ("takes_ranges", "has_marks"), [(False, True), (True, False), (False, False)]
)
def test_a_server_that_cannot_go_on_is_asked_for_all_of_it(
    site: Site, takes_ranges: bool, has_marks: bool
) -> None:
    site.takes_ranges, site.has_marks = takes_ranges, has_marks
    site.cut_after = 1000
    with pytest.raises(Unreachable):
        get(entry(site, sha256=SHA))
    site.cut_after = None
    assert get(entry(site, sha256=SHA)).read_bytes() == CONTENT


def test_a_rest_of_another_file_is_not_appended(site: Site) -> None:
    site.cut_after = 1000
    with pytest.raises(Unreachable):
        get(entry(site))
    site.cut_after = None
    site.files["a.bin"] = CONTENT[::-1]
    assert get(entry(site)).read_bytes() == CONTENT[::-1]


def test_what_came_first_is_expected_from_then_on(site: Site) -> None:
    of = entry(site)
    path = get(of)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DataError, match=r"a.bin is not what was downloaded: remove it, and run"):
        local_files(of)
    path.unlink()
    site.files["a.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match=f"where {SHA[:12]} is expected"):
        get(of)
    site.files["a.bin"] = CONTENT
    assert get(of).read_bytes() == CONTENT


def test_a_damaged_file_is_brought_again(site: Site) -> None:
    path = get(entry(site, sha256=SHA))
    path.write_bytes(b"nothing")
    assert get(entry(site, sha256=SHA)).read_bytes() == CONTENT


def test_what_is_not_there_is_said(site: Site) -> None:
    site.files.clear()
    with pytest.raises(DataError, match=r"a.bin answers 404 Not Found"):
        get(entry(site))
    nobody = replace(entry(site), files=(RemoteFile("http://127.0.0.1:1/a.bin"),))
    with pytest.raises(Unreachable, match=r"127.0.0.1:1/a.bin is not to be had"):
        get(nobody)
    local = replace(entry(site), files=(RemoteFile("file:///a.bin"),))
    with pytest.raises(DataError, match="is no web address"):
        get(local)


def test_the_catalogue_says_of_each_set_what_must_be_known() -> None:
    assert len(catalogue()) >= 8
    for name, known in catalogue().items():
        assert known.title
        assert known.licence
        assert known.citation
        assert known.page.startswith("http")
        assert known.reader in ("table", "idx", "cifar", "har"), name
        assert len({file.name for file in known.files}) == len(known.files)
        for file in known.files:
            assert file.url.startswith(("http://", "https://"))
            assert file.sha256 is None or len(file.sha256) == 64
    with pytest.raises(DataError, match="no data set is called 'adlut'; did you mean 'adult'"):
        entry_named("adlut")


def test_commands_get_from_a_mirror_and_list_what_is_here(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.files = {"wine quality.zip": CONTENT}
    assert main(["data", "get", "wine_quality", "--from", f"{site.url}/"]) == 0
    out = capsys.readouterr()
    assert SHA in out.out
    assert "data: {source: catalogue:wine_quality}, task: regression" in out.err
    assert main(["data", "list", "--format", "json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["wine_quality"]["is_here"]
    assert not listed["adult"]["is_here"]
    assert main(["data", "list"]) == 0
    assert "CC BY 4.0" in capsys.readouterr().out
    assert main(["data", "get", "adult", "--from", site.url]) == 3
    assert "adult.data answers 404" in capsys.readouterr().err
    assert (
        from_mirror(entry_named("wine_quality"), site.url).files[0].url.endswith("%20quality.zip")
    )
