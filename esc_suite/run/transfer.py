"""One file over HTTP: goes on where a connection was cut, tries again while anything comes, shows how far it
is.

pooch has no resume: a cut connection costs the whole file, here 6 GB. So the stream is our own.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

GB = 1e9
BLOCK = 1 << 16  # what a cut connection can lose at most
TRIES = 3  # in a row that bring nothing new


class NotReachedError(Exception):
    """The server did not give the file; the caller adds what to do by hand."""


class _CutError(Exception):
    """The connection broke or the server is busy: another try may do."""


def transfer(url: str, part: Path, label: str, wait: float) -> None:
    """Bring what `part` still lacks of the file at `url`; a cut connection is tried again after `wait`
    seconds (doubled each time) as long as some try brings something. NotReachedError where the server does
    not give the file."""
    best, idle = size(part), 0
    while True:
        try:
            _stream(url, part, label)
            break
        except _CutError as problem:
            here = size(part)
            # A connection that still brings something is never given up
            idle = 0 if here > best else idle + 1
            best = max(best, here)
            if idle == TRIES:
                kept = f"; {amount(here)} are kept for the next run" if here else ""
                raise NotReachedError(f"cannot download {label}: {problem}{kept}") from None
            pause = wait * 2**idle
            print(f"{label}: {problem}; next try in {pause:.0f} s, from {amount(here)} on", flush=True)
            time.sleep(pause)


def size(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _stream(url: str, part: Path, label: str) -> None:
    """Append what is missing to `part`. A server that ignores the range sends everything, so the file starts
    anew."""
    have = size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=30) as reply:
            if reply.status_code == 416:  # nothing after `have`: complete, or not a part of this file
                if reply.headers.get("Content-Range", "").endswith(f"/{have}"):
                    return
                part.unlink()
                raise _CutError("the partial file does not fit, starting anew")
            if reply.status_code in (408, 425, 429) or reply.status_code >= 500:
                raise _CutError(f"{url} answers {reply.status_code} {reply.reason}")
            if reply.status_code not in (200, 206):
                raise NotReachedError(
                    f"cannot download {label}: {url} answers {reply.status_code} {reply.reason}"
                )
            resumed = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(
                f"bytes {have}-"
            )
            if have and reply.status_code == 206 and not resumed:
                part.unlink()
                raise _CutError("the server sent another range, starting anew")
            start = have if resumed else 0
            length = reply.headers.get("Content-Length")
            total = start + int(length) if length else None
            with part.open("ab" if resumed else "wb") as file, progress(label, start, total) as step:
                for block in reply.iter_content(BLOCK):
                    file.write(block)
                    step(len(block))
            if total is not None and part.stat().st_size < total:
                raise _CutError("the connection was cut")
    except requests.exceptions.ChunkedEncodingError:
        raise _CutError("the connection was cut") from None
    except (requests.ConnectionError, requests.Timeout) as problem:
        raise _CutError(f"no connection to {urlsplit(url).netloc} ({type(problem).__name__})") from None
    except requests.RequestException as problem:
        raise NotReachedError(f"cannot download {label} from {url} ({problem})") from None


def amount(count: int) -> str:
    """Bytes to read: 6.10 GB, 4.1 MB."""
    return f"{count / GB:.2f} GB" if count >= GB / 10 else f"{count / 1e6:.1f} MB"


@contextmanager
def progress(label: str, start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere (a log file) one plain line each tenth of the way."""
    if sys.stderr.isatty():
        with tqdm(desc=label, initial=start, total=total, unit="B", unit_scale=True) as bar:
            yield bar.update
        return
    done, said = start, int(10 * start / total) if total else 0

    def step(count: int) -> None:
        nonlocal done, said
        done += count
        if total and int(10 * done / total) > said:
            said = int(10 * done / total)
            print(f"{label}: {10 * said} % of {amount(total)}", flush=True)

    yield step
