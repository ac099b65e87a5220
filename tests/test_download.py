"""Downloads against a local server that cuts, lies and refuses; archives that must not be unpacked."""

import errno
import hashlib
import io
import shutil
import tarfile
import threading
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import filelock
import pytest

from esc_suite.run import download, transfer
from esc_utils.errors import UserError

CSV = "slice_file_name,fsID,start,end,salience,fold,classID,class\n7-1-0-0.wav,7,0,1,1,1,1,car_horn\n"
CLIP = bytes(range(256)) * 40
WEIGHTS = bytes(range(256)) * 4000  # about 1 MB
PTH = "Cnn14_16k_mAP=0.438.pth"
TAR = "UrbanSound8K.tar.gz"
BLOCK = transfer.BLOCK


class Server:
    """Serves `files` (last part of the URL -> bytes). Faults are switched on per test."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.requests: list[str | None] = []  # the Range header of each request
        self.cut_at: list[int] = []  # bytes to send before the connection breaks, one for each coming request
        self.ranges = True
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                outer.answer(self)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.requests.append(wanted)
        body = self.files.get(request.path.rsplit("/", 1)[1])
        if self.status != 200 or body is None:
            request.send_error(self.status if self.status != 200 else 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start and start >= len(body):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(body)}")
            request.end_headers()
            return
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        stop = start + self.cut_at.pop(0) if self.cut_at else len(body)
        request.wfile.write(body[start:stop])

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


def archive(*further, csv=CSV, clip=True) -> bytes:
    """A tar.gz of a one-clip dataset, with further (TarInfo, bytes) members behind it."""
    members = [member("UrbanSound8K/metadata/UrbanSound8K.csv", data=csv.encode())]
    members += [member("UrbanSound8K/audio/fold1/7-1-0-0.wav", data=CLIP)] if clip else []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, data in [*members, *further]:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, link="", data=b""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    return info, data


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def offer(server, monkeypatch):
    """Publish bytes as a source, with the checksum they have unless another is given."""

    def put(what, data, checksum=None):
        source = download.SOURCES[what]
        server.files[source.name.replace("=", "%3D")] = data
        checksum = checksum or f"md5:{hashlib.md5(data).hexdigest()}"
        unpacked = 20_000 if source.folder else 0
        small = replace(source, size=len(data), unpacked=unpacked, checksum=checksum)
        monkeypatch.setitem(download.SOURCES, what, small)

    put("dataset", archive())
    put("weights", WEIGHTS)
    return put


@pytest.fixture
def fetch(server, offer, tmp_path):
    return lambda *names, to=tmp_path: download.fetch(list(names), to, server.url, wait=0.0)


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".download.lock"}


def test_published_facts():
    """The records and checksums that Zenodo states, and a URL with the equals sign escaped; the release that
    has mn04."""
    dataset, weights, mn04 = (download.SOURCES[name] for name in ("dataset", "weights", "mn04"))
    assert (dataset.path, dataset.checksum) == (
        "records/1203745/files",
        "md5:9aa69802bbf37fb986f71ec1483a196e",
    )
    assert weights.checksum == "sha256:e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6"
    assert weights.url() == "https://zenodo.org/records/3987831/files/Cnn14_16k_mAP%3D0.438.pth"
    assert (
        mn04.url() == "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt"
    )
    assert mn04.checksum == "sha256:899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"


def test_everything_once(fetch, server, tmp_path):
    places = fetch("dataset", "weights")
    assert (places["dataset"] / "audio/fold1/7-1-0-0.wav").read_bytes() == CLIP
    assert places["weights"].read_bytes() == WEIGHTS
    assert len(server.requests) == 2
    (places["dataset"] / "mine.txt").write_text("a second unpacking would take this away")
    (tmp_path / TAR).unlink()  # no longer needed once unpacked
    fetch("dataset", "weights")
    assert len(server.requests) == 2
    assert (places["dataset"] / "mine.txt").exists()
    assert names(tmp_path) == {"UrbanSound8K", PTH}


def test_cut_connection_resumes_by_itself(fetch, server):
    server.cut_at = [3 * BLOCK + 1, 4 * BLOCK - 1]  # what came of the last block is lost
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS
    assert server.requests == [None, f"bytes={3 * BLOCK}-", f"bytes={6 * BLOCK}-"]


def test_a_connection_that_brings_something_is_never_given_up(fetch, server):
    server.cut_at = [BLOCK] * 9
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS
    assert len(server.requests) == 10


def test_next_run_resumes(fetch, server, tmp_path):
    server.cut_at = [5 * BLOCK, 0, 0, 0]
    with pytest.raises(UserError) as caught:
        fetch("weights")
    assert "kept for the next run" in one_line(caught) and PTH in str(caught.value)
    assert names(tmp_path) == {f"{PTH}.part"}
    server.requests.clear()
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS
    assert server.requests == [f"bytes={5 * BLOCK}-"]


def test_server_without_ranges_starts_anew(fetch, server):
    server.ranges = False
    server.cut_at = [5 * BLOCK]
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS
    assert server.requests == [None, f"bytes={5 * BLOCK}-"]


@pytest.mark.parametrize("part", [WEIGHTS, WEIGHTS + b"more"], ids=["complete", "too long"])
def test_partial_file_at_its_end(fetch, tmp_path, part):
    (tmp_path / f"{PTH}.part").write_bytes(part)
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS


def test_wrong_checksum_leaves_nothing(fetch, offer, tmp_path):
    offer("weights", WEIGHTS, checksum="md5:" + "0" * 32)
    with pytest.raises(UserError) as caught:
        fetch("weights")
    assert "damaged" in one_line(caught) and "0" * 32 in str(caught.value)
    assert names(tmp_path) == set()


def test_damaged_partial_file_is_caught(fetch, tmp_path):
    (tmp_path / f"{PTH}.part").write_bytes(b"x" * 1000)
    with pytest.raises(UserError, match="run the same command again"):
        fetch("weights")
    assert fetch("weights")["weights"].read_bytes() == WEIGHTS


def test_files_placed_by_hand(fetch, server, tmp_path):
    (tmp_path / PTH).write_bytes(WEIGHTS)
    (tmp_path / TAR).write_bytes(server.files[TAR])
    places = fetch("dataset", "weights")
    assert server.requests == []
    assert (places["dataset"] / "metadata/UrbanSound8K.csv").read_text() == CSV


def test_damaged_file_placed_by_hand_is_kept(fetch, server, tmp_path):
    mine = tmp_path / PTH
    mine.write_bytes(WEIGHTS[:1000])
    with pytest.raises(UserError) as caught:
        fetch("weights")
    assert "delete it and run again" in one_line(caught)
    assert mine.stat().st_size == 1000 and server.requests == []


@pytest.mark.parametrize("flat", [False, True], ids=["official", "kaggle"])
def test_folder_placed_by_hand(fetch, server, tmp_path, flat):
    root = tmp_path / "UrbanSound8K"
    table = root / "UrbanSound8K.csv" if flat else root / "metadata" / "UrbanSound8K.csv"
    clip = root / ("fold1" if flat else "audio/fold1") / "7-1-0-0.wav"
    for path in (table, clip):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CSV)
    fetch("dataset")
    assert server.requests == []
    clip.unlink()
    with pytest.raises(UserError, match=r"lacks 1 clips, such as 7-1-0-0\.wav"):
        fetch("dataset")
    table.unlink()
    with pytest.raises(UserError, match=r"has no UrbanSound8K\.csv"):
        fetch("dataset")


def test_offline_names_every_missing_file(offer, tmp_path):
    dead = Server()
    dead.close()  # a port on which nobody listens
    with pytest.raises(UserError) as caught:
        download.fetch(["dataset", "weights", "mn04"], tmp_path, dead.url, wait=0.0)
    message = one_line(caught)
    for source in download.SOURCES.values():
        assert source.url(dead.url) in message
        assert source.checksum.split(":")[1] in message
    assert str(tmp_path) in message


def test_not_found_is_not_tried_again(fetch, server, tmp_path):
    server.files.clear()
    with pytest.raises(UserError) as caught:
        fetch("weights")
    assert "404" in one_line(caught) and "by hand" in str(caught.value)
    assert len(server.requests) == 1
    assert names(tmp_path) == set()


def test_busy_server_is_tried_again(fetch, server):
    server.status = 503
    with pytest.raises(UserError, match="503"):
        fetch("weights")
    assert len(server.requests) == transfer.TRIES


def test_no_space(fetch, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    need = download.SOURCES["dataset"].size + download.SOURCES["dataset"].unpacked
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, need - 1))
    with pytest.raises(UserError) as caught:
        fetch("dataset")
    assert "free space" in one_line(caught) and server.requests == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, need))
    fetch("dataset")


def test_disk_runs_full_on_the_way(fetch, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer, "_stream", full)
    with pytest.raises(UserError, match="is full"):
        fetch("weights")


HOSTILE = {
    "parent": member("../escaped.txt", data=b"x"),
    "parent inside": member("UrbanSound8K/../../escaped.txt", data=b"x"),
    "absolute": member("/tmp/escaped.txt", data=b"x"),
    "symlink out": member("UrbanSound8K/link", tarfile.SYMTYPE, "../../escaped.txt"),
    "symlink absolute": member("UrbanSound8K/link", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link": member("UrbanSound8K/link", tarfile.LNKTYPE, "UrbanSound8K/metadata/UrbanSound8K.csv"),
    "device": member("UrbanSound8K/zero", tarfile.CHRTYPE),
    "too big": member("UrbanSound8K/bomb", data=bytes(100_000)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archive(case, fetch, offer, tmp_path):
    offer("dataset", archive(HOSTILE[case]))
    inner = tmp_path / "data"
    with pytest.raises(UserError) as caught:
        fetch("dataset", to=inner)
    assert TAR in one_line(caught) and "delete it" in str(caught.value)
    assert names(inner) == {TAR}
    assert names(tmp_path) == {"data"}
    assert not Path("/tmp/escaped.txt").exists()


BROKEN = {
    "cut in the middle": archive()[:-40],
    "no gzip": b"<html>please log in</html>",
    "empty": b"",
    "clip missing": archive(clip=False),
    "no clips in the table": archive(csv="slice_file_name\n"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_archive(case, fetch, offer, tmp_path):
    offer("dataset", BROKEN[case])
    with pytest.raises(UserError) as caught:
        fetch("dataset")
    assert TAR in one_line(caught)
    assert names(tmp_path) == {TAR}


def test_leftovers_of_a_killed_unpacking_go(fetch, tmp_path):
    half = tmp_path / ".unpacking-UrbanSound8K" / "UrbanSound8K"
    half.mkdir(parents=True)
    fetch("dataset")
    assert not half.parent.exists()


def test_two_downloads_at_once(fetch, tmp_path):
    with filelock.FileLock(tmp_path / ".download.lock"), pytest.raises(UserError, match="is running"):
        fetch("weights")


def test_command(offer, server, tmp_path, capsys):
    assert download.main(["weights", "--to", str(tmp_path), "--base-url", server.url]) == 0
    out = capsys.readouterr().out
    assert "100 %" in out and "ready in" in out  # plain lines: pytest's output is no terminal
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        download.main(["weights", "--to", str(tmp_path / "file"), "--base-url", server.url])
    assert capsys.readouterr().err.startswith("error: cannot write into")


@pytest.mark.parametrize("profile", ["Lite", "paper.yaml", ""])
def test_a_mistyped_profile_downloads_nothing(profile, tmp_path, server, capsys):
    with pytest.raises(SystemExit):
        download.main([f"--profile={profile}", "--to", str(tmp_path / "data"), "--base-url", server.url])
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no profile {profile!r}" in line and not (tmp_path / "data").exists()


def test_every_profile_of_real_clips_fetches_its_own_networks_weights():
    from esc_utils import config, paths

    names = [path.stem for path in (paths.project_root() / "params" / "profiles").glob("*.yaml")]
    knobs = {name: config.for_run(name, "pann_10") for name in names}
    real = {name: made.backbone for name, made in knobs.items() if made.dataset == "urbansound8k"}
    file = {"mn04": "mn04", "pann": "weights"}
    assert {name: ("dataset", file[backbone]) for name, backbone in real.items()} == download.OF_PROFILE
