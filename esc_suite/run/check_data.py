"""Is what the runs read there, and is it what was published? The dataset and the pretrained weights."""

from collections.abc import Iterator
from pathlib import Path

from esc_suite.run.check_base import Line, Setup, first_few, require_writable
from esc_utils import paths
from esc_utils.errors import UserError
from esc_utils.paths import ASSETS, mn04_file

OFFICIAL = Path(__file__).parent / "assets" / "official_sha256.tsv"


def dataset(setup: Setup) -> Iterator[Line]:
    from esc_suite.inputs import open_dataset
    from esc_utils import urbansound

    if setup.config.dataset == "synthetic":
        yield Line("ok", "dataset", "synthesised on first use, no download")
        return
    found = open_dataset(setup.config)
    urbansound.leak_check(found)
    sizes = found.clips["fold"].value_counts().to_dict()
    layout = "official" if (found.root / "metadata").is_dir() else "Kaggle's"
    text = f"{found.root}: {layout} layout, {len(found.clips)} clips in {len(sizes)} folds"
    if found.synthesised:
        yield Line(
            "warn", "dataset", f"{text}: synthesised, not UrbanSound8K; give another folder with --data"
        )
    elif odd := [
        f"fold {k} has {sizes.get(k, 0)}, not {n}"
        for k, n in urbansound.FOLD_SIZES.items()
        if sizes.get(k, 0) != n
    ]:
        yield Line(
            "warn", "dataset", f"{text}: not the whole UrbanSound8K ({first_few(odd)}); `make data` gets it"
        )
    else:
        yield Line("ok", "dataset", f"{text}, as published")
    if not setup.quick:
        if not found.synthesised:
            yield official(found)
        from esc_utils.features import decode

        clips = found.clips.groupby("fold").first()["path"]
        seconds = sum(len(decode(path)) for path in clips) / 16000
        yield Line("ok", "audio", f"one clip of each fold decoded, {seconds:.1f} s")


def official(found) -> Line:
    """How many of a dataset's clips hold, byte for byte, what was published."""
    from esc_utils.contents import sha256

    published = dict(line.split("\t")[1:3] for line in OFFICIAL.read_text().splitlines()[2:])
    names = list(found.clips["file"])
    other = [
        n
        for n, path in zip(names, found.clips["path"], strict=True)
        if sha256(Path(path)) != published.get(n)
    ]
    lacking = len(published) - len(set(published) & set(names))
    text = f"{len(names) - len(other):,} of {len(names):,} clips that are there are official"
    if other:
        text += (
            f"; {len(other):,} differ from the published files, after a conversion, an edit or damage "
            f"({first_few(other)})"
        )
    if lacking:
        text += f"; {lacking:,} of {len(published):,} are not there"
    if not other and not lacking:
        return Line("ok", "official", f"{len(names):,} of {len(published):,} official")
    return Line("warn", "official", text)


def weights(setup: Setup) -> Iterator[Line]:
    settings = setup.config
    given = paths.place(settings.weights_path) if settings.weights_path else None
    if not settings.pretrained:
        return
    if settings.backbone == "pann":
        from esc_suite.run.download import SOURCES

        source = SOURCES["weights"]
        path = given or paths.data_folder() / source.name
        if not path.is_file():
            raise UserError(f"no {path}: run `make data`, or put {source.name} there ({source.checksum})")
        if setup.quick:
            yield Line("ok", "weights", f"{path} is there")
            return
        import pooch

        kind, expected = source.checksum.split(":")
        if pooch.file_hash(str(path), alg=kind) == expected:
            yield Line("ok", "weights", f"{path}, {kind} as published")
        else:
            yield Line(
                "warn",
                "weights",
                f"{path} is not the published file ({kind} differs): rows will say PANN for it",
            )
    elif settings.backbone == "synthesised":
        path = given or ASSETS / "backbone.safetensors"
        if not path.is_file():
            raise UserError(f"no {path}: it is part of the project, check it out or install again")
        yield Line("ok", "weights", f"{path.name} (synthesised audio), shipped")
    else:
        yield from _mn04(given, setup.quick)


def _mn04(given: Path | None, quick: bool) -> Iterator[Line]:
    """mn04's weights: there, or to be fetched into a folder that can be written."""
    from esc_suite.run.download import SOURCES

    path, source = given or mn04_file(), SOURCES["mn04"]
    if given and not given.is_file():
        raise UserError(
            f"no mn04 weights at {given}: mend weights_path, or leave it empty to have them fetched"
        )
    if not path.is_file():
        require_writable(
            path.parent, f"put {source.name} somewhere and name it in weights_path ({source.url()})"
        )
        text = (
            f"no {path} yet: `make data PROFILE=lite` or the first run fetches it (4 MB, from {source.url()})"
        )
        yield Line("warn", "weights", text)
    elif quick:
        yield Line("ok", "weights", f"{path} is there")
    else:
        import pooch

        from esc_utils.standins.mn04 import Mn04, load_mn04

        load_mn04(Mn04(10), path)
        published = pooch.file_hash(str(path)) == source.checksum.split(":")[1]
        text = f"{path} loads, " + (
            "sha256 as known" if published else "but is another file than the known one (sha256)"
        )
        yield Line("ok" if published else "warn", "weights", text)
