"""Downloads against a server on this machine: broken off, resumed, checked, unpacked inside their folder."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from recipes.cli import main
from recipes.data.download import ARCHIVES, Archive, fetch


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one body; the first answers stop after `cut` bytes, and ranges are understood unless told otherwise."""

    body, cuts, ranges, asked, status, odd = b"", [], True, [], 200, None

    def do_GET(self):
        cls = type(self)
        wanted = self.headers.get("Range")
        cls.asked.append(wanted)
        if cls.status != 200:
            self.send_error(cls.status)
            return
        if cls.odd == "chunks":  # an answer of unknown length that breaks off
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3e8\r\n" + cls.body[:500])
            cls.odd = None
            return
        if cls.odd == "no http":
            self.wfile.write(b"hello\r\n\r\n")
            cls.odd = None
            return
        if wanted and cls.odd == "another piece":
            cls.odd = None
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-99/{len(cls.body)}")
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(cls.body[:100])
            return
        start = int(wanted[6:-1]) if wanted and cls.ranges else 0
        if start >= len(cls.body):
            self.send_error(416)
            return
        rest = cls.body[start:]
        self.send_response(206 if wanted and cls.ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: cls.cuts.pop(0)] if cls.cuts else rest)

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(monkeypatch):
    """Return a function that puts an archive on a server and in the list of known ones."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("pooch.core.time.sleep", lambda _: None)

    def put(body, name="set.tar.gz", top="top", cuts=(), ranges=True, status=200, checksum=None, odd=None):
        Server.body, Server.cuts, Server.ranges, Server.asked, Server.status = body, list(cuts), ranges, [], status
        Server.odd = odd
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        known = checksum or "sha256:" + hashlib.sha256(body).hexdigest()
        monkeypatch.setitem(ARCHIVES, "esc10", Archive(url, ("md5:0", known), top, "CC0"))

    yield put
    server.shutdown()
    server.server_close()


def tar(**members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def zipped(**members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


NOISE = hashlib.shake_128(b"x").digest(200_000)  # does not shrink


@pytest.mark.parametrize(("make", "name"), [(tar, "set.tar.gz"), (zipped, "set.zip")])
def test_an_archive_is_fetched_once_and_unpacked(serve, tmp_path, make, name):
    serve(make(**{"top/a.wav": NOISE, "top/meta/t.csv": b"x"}), name)
    root = fetch("esc10", tmp_path / "data")
    assert root == tmp_path / "data" / "set" / "top"
    assert (root / "a.wav").read_bytes() == NOISE
    assert (root / "meta" / "t.csv").read_bytes() == b"x"
    assert fetch("esc10", tmp_path / "data") == root
    assert Server.asked == [None]


def test_a_broken_connection_is_taken_up_where_it_broke(serve, tmp_path):
    serve(tar(**{"top/a": NOISE}), cuts=[70_000, 50_000])
    assert (fetch("esc10", tmp_path) / "a").read_bytes() == NOISE
    assert Server.asked == [None, "bytes=70000-", "bytes=120000-"]


def test_what_an_earlier_process_left_is_used(serve, tmp_path):
    body = tar(**{"top/a": NOISE})
    serve(body)
    (tmp_path / "set.tar.gz.part").write_bytes(body[:1000])
    assert (fetch("esc10", tmp_path) / "a").read_bytes() == NOISE
    assert Server.asked == ["bytes=1000-"]


def test_a_whole_part_is_not_fetched_again(serve, tmp_path):
    body = tar(**{"top/a": NOISE})
    serve(body)
    (tmp_path / "set.tar.gz.part").write_bytes(body)
    assert (fetch("esc10", tmp_path) / "a").read_bytes() == NOISE


def test_a_server_without_ranges_sends_all_of_it_again(serve, tmp_path):
    serve(tar(**{"top/a": NOISE}), cuts=[70_000], ranges=False)
    assert (fetch("esc10", tmp_path) / "a").read_bytes() == NOISE


def test_a_changed_file_is_refused_and_removed(serve, tmp_path):
    serve(tar(**{"top/a": NOISE}), checksum="sha256:" + 64 * "0")
    with pytest.raises(ValueError, match=r"must be of hash md5:0 or sha256:0+, got .*removed; was it changed"):
        fetch("esc10", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_given_checksum_counts_instead(serve, tmp_path):
    body = tar(**{"top/a": b"1"})
    serve(body, checksum="sha256:" + 64 * "0")
    fetch("esc10", tmp_path, checksum="md5:" + hashlib.md5(body).hexdigest())
    with pytest.raises(ValueError, match="checksum must be one of md5, sha256, got 'sha1'"):
        fetch("esc10", tmp_path, checksum="sha1:0")
    with pytest.raises(ValueError, match=r"checksum must be md5:\.\.\. or sha256:\.\.\., got 'abc'"):
        fetch("esc10", tmp_path, checksum="abc")
    with pytest.raises(ValueError, match="to must be a folder, got .*set.tar.gz is a file"):
        fetch("esc10", tmp_path / "set.tar.gz")


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "top/../../outside", "..\\outside", "C:/outside"])
@pytest.mark.parametrize("make", [tar, zipped])
def test_no_file_leaves_the_folder(serve, tmp_path, make, name):
    serve(make(**{"top/a": b"1", name: b"2"}), "set.zip" if make is zipped else "set.tar.gz")
    with pytest.raises(ValueError, match=r"files lie inside it, got .*outside: it would be written elsewhere"):
        fetch("esc10", tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["set.zip" if make is zipped else "set.tar.gz"]
    assert not (tmp_path / "outside").exists()


def test_links_and_truncated_archives_are_refused(serve, tmp_path):
    link = tar(**{"top": "/etc", "top/passwd": b"2"}), "an archive of plain files, got top, a link or a device"
    cut = tar(**{"top/a": NOISE})[:100_000], "neither a zip nor a whole tar archive"
    for i, (body, message) in enumerate((link, cut)):
        serve(body)
        with pytest.raises(ValueError, match=message):
            fetch("esc10", tmp_path / str(i))


def test_an_absent_page_and_a_dead_server_are_reported(serve, tmp_path):
    serve(b"", status=404)
    with pytest.raises(OSError, match="404"):
        fetch("esc10", tmp_path)
    assert len(Server.asked) == 1  # asking again would not help
    serve(b"", status=503)
    with pytest.raises(OSError, match="503.*the same command goes on"):
        fetch("esc10", tmp_path)
    assert len(Server.asked) == 5


@pytest.mark.parametrize("odd", ["chunks", "no http", "another piece"])
def test_odd_answers_are_asked_for_again(serve, tmp_path, odd):
    body = tar(**{"top/a": NOISE})
    serve(body, odd=odd)
    if odd == "another piece":
        (tmp_path / "set.tar.gz.part").write_bytes(body[:1000])
    assert (fetch("esc10", tmp_path) / "a").read_bytes() == NOISE
    assert len(Server.asked) == 2


def test_an_archive_that_lies_there_is_checked_too_and_left_alone(serve, tmp_path):
    serve(tar(**{"top/a": NOISE}))
    (tmp_path / "set.tar.gz").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"set.tar.gz must be of hash .*remove it, and it is fetched anew"):
        fetch("esc10", tmp_path)
    assert (tmp_path / "set.tar.gz").read_bytes() == b"another"
    assert Server.asked == []


def test_a_broken_zip_is_reported_and_an_empty_name_in_it_harmless(serve, tmp_path):
    body = zipped(**{"top/a": NOISE, "./": b""})
    serve(body, "set.zip")
    assert (fetch("esc10", tmp_path / "good") / "a").read_bytes() == NOISE
    at = body.index(NOISE)
    serve(body[: at + 9] + b"--" + body[at + 11 :], "set.zip")  # another content than its checksum tells
    with pytest.raises(ValueError, match=r"set.zip: neither a zip nor a whole tar archive \(Bad CRC"):
        fetch("esc10", tmp_path / "bad")
    assert [p.name for p in (tmp_path / "bad").iterdir()] == ["set.zip"]


def test_an_address_of_no_archive_and_an_unknown_name_are_reported_at_once(tmp_path):
    for url in ("foo", "http://a.org/", "http://a.org/set.rar", "http://a.org/..", "a/set.zip"):
        with pytest.raises(ValueError, match="url must be an address of a .zip or .tar.gz file.*got"):
            fetch("esc10", tmp_path / "data", url=url)
    with pytest.raises(ValueError, match=r"url must be an address without spaces, got 'http://127.0.0.1:9/a b.zip'"):
        fetch("esc10", tmp_path / "data", url="http://127.0.0.1:9/a b.zip")
    with pytest.raises(ValueError, match="did you mean 'urbansound8k'"):
        fetch("urbansound", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_known_archives_have_whole_hashes():
    for archive in ARCHIVES.values():
        assert archive.url.startswith("https://")
        for known in archive.hashes:
            kind, _, digest = known.partition(":")
            assert len(bytes.fromhex(digest)) == {"md5": 16, "sha256": 32}[kind]


def test_download_is_a_command_that_names_what_there_is(tmp_path, capsys):
    assert main(["download", "esc51", str(tmp_path)]) == 2
    assert "did you mean 'esc50'" in " ".join(capsys.readouterr().err.split())
