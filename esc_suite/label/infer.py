"""Labels for new audio from finished networks: a line or a CSV row a clip, or a window of a long file."""

import csv
import io
import itertools
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from esc_suite.inputs import listing, table
from esc_suite.label.networks import Networks
from esc_utils import features
from esc_utils.audio import decode
from esc_utils.config import digest
from esc_utils.contents import visible
from esc_utils.device import prepare
from esc_utils.errors import UserError
from esc_utils.files import write_atomic

COLUMNS = ("path", "start", "end", "label", "confidence", "second", "second_confidence")
BATCH = 32  # windows scored at a time


def label(networks: Networks, clips: list[str], hop: float, to: str, skip_bad: bool) -> int:
    """Label audio files and folders of them; returns 0. A file that cannot be used is an error, with
    `skip_bad` a line.

    With `to` the rows are kept in a hidden file beside it, which the same command goes on from, and which
    becomes `to` after the last."""
    if not 0 <= hop < math.inf:
        raise UserError(
            f"--hop {hop:g} is no length of time: give seconds between windows, 0 for one window after "
            "the other"
        )
    paths = found(clips)
    window = networks.config.clip_seconds
    hop = hop or window
    from joblib import cpu_count

    prepare(features.torch.device("cpu"), networks.config.threads or cpu_count())
    if not to:
        for row in labelled_rows(networks, paths, window, hop, skip_bad):
            print(
                f"{row[0]}  {row[1]:.2f}-{row[2]:.2f} s  {row[3]} {row[4]:.2f}  else {row[5]} {row[6]:.2f}",
                flush=True,
            )
        return 0
    target = Path(to).expanduser()
    key = digest([[str(path.resolve()), path.stat().st_mtime_ns] for path in networks.files] + [hop])
    part = target.with_name(f".{target.name}.{key}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        states = {str(path): _state(path) for path in paths}
        kept = _kept(part, states)
        if done := {row[0] for row in kept}:
            print(f"{len(done)} of {len(paths)} files are labelled already", file=sys.stderr)
        write_atomic(part, _as_csv(kept))
        with part.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            for row in labelled_rows(
                networks, [path for path in paths if str(path) not in done], window, hop, skip_bad
            ):
                kept.append(
                    [row[0], *(f"{v:.4f}" if isinstance(v, float) else v for v in row[1:]), states[row[0]]]
                )
                writer.writerow(kept[-1])
                file.flush()
        places = {name: place for place, name in enumerate(states)}
        kept.sort(key=lambda row: places[row[0]])
        write_atomic(target, _as_csv([COLUMNS, *(row[:-1] for row in kept)]))
        part.unlink()
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error.strerror}): give another --to, or free some space"
        ) from None
    return 0


def found(clips: list[str]) -> list[Path]:
    """The files of a command line, folders replaced by the audio files in them; UserError for one that is not
    there."""
    paths = []
    for name in clips:
        place = Path(name).expanduser()
        if place.is_dir():
            paths += [path for path in visible(place, "*") if path.suffix.lower() in listing.SUFFIXES]
        elif place.exists():
            paths.append(place)
        else:
            raise UserError(f"no clip {place}: check its name")
    if not paths:
        raise UserError(f"no audio files in {', '.join(clips)}: name files, or a folder that has some")
    return list(dict.fromkeys(paths))


def _state(path: Path) -> str:
    about = path.stat()
    return f"{about.st_size} {about.st_mtime_ns}"


def _kept(part: Path, states: dict[str, str]) -> list[list[str]]:
    """Rows, each with the state of its file at its end, of a run that was cut off: those of files that are
    finished and unchanged. The last file may be half done."""
    if not part.is_file():
        return []
    with part.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(COLUMNS) + 1]
    return [row for row in rows if row[0] != rows[-1][0] and states.get(row[0]) == row[-1]]


def _as_csv(rows: list) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def labelled_rows(networks: Networks, paths: list[Path], window: float, hop: float, skip_bad: bool):
    """Rows of COLUMNS, file by file. Long files are decoded window by window, short ones whole, all in
    parallel."""
    front = features.front_end(networks.config.network)
    names, samples = np.array(networks.classes), round(window * front.sample_rate)
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(paths), unit="file", desc="labelling", disable=None) as bar,
    ):
        spans = _spans(paths, window, hop, skip_bad, bar)
        batches = iter(lambda: list(itertools.islice(spans, BATCH)), [])

        def read(batch):
            return [
                pool.submit(_decoded, path, front.sample_rate, start, seconds)
                for path, _, _, start, seconds in batch
            ]

        ahead = ((batch, read(batch)) for batch in batches)
        waiting = next(ahead, None)
        while waiting:
            # The next batch is decoded while this one is scored
            (batch, jobs), waiting = (waiting, next(ahead, None))
            audio, good = [], []
            for item, job in zip(batch, jobs, strict=True):
                waveform = job.result()
                if isinstance(waveform, UserError):
                    _refused(str(waveform), skip_bad)
                    continue
                if not waveform.size:  # a window beyond the end of a file that only estimates its own length
                    continue
                audio.append(features.fit_length(waveform, samples))
                good.append(item)
            if not audio:
                continue
            prob = networks.scores(np.stack(audio))
            best = np.argsort(-prob, axis=1, kind="stable")[:, :2]
            for (path, begin, end, _, _), row, (first, second) in zip(good, prob, best, strict=True):
                yield (
                    str(path),
                    begin,
                    end,
                    names[first],
                    float(row[first]),
                    names[second],
                    float(row[second]),
                )


def _spans(paths, window, hop, skip_bad, bar):
    import soundfile

    for path in paths:
        try:
            seconds = soundfile.info(str(path)).duration
        except (soundfile.SoundFileError, OSError, ValueError):  # ValueError: a name that is no UTF-8
            _refused(f"{path} is no audio file that libsndfile can read", skip_bad)
            seconds = None
        if seconds:
            whole = seconds <= table.LONG and len(table.windows(seconds, window, hop)) == 1
            for begin, end in table.windows(seconds, window, hop):
                yield path, begin, end, math.nan if whole else begin, window
        elif seconds is not None:
            _refused(f"audio file {path} has no samples", skip_bad)
        bar.update()


def _decoded(path: Path, rate: int, start: float, seconds: float):
    try:
        return decode(path, rate, start, seconds)
    except UserError as error:
        return error


def _refused(problem: str, skip_bad: bool) -> None:
    if not skip_bad:
        raise UserError(
            f"{problem.rstrip()}; what is labelled so far is kept; --skip-bad goes on without such files"
        )
    print(f"unusable: {problem.removeprefix('audio file ')}", file=sys.stderr, flush=True)
