"""What `first_light.py` needs on a machine without a network, and what it found, back into the project.

python tools/bench/first_light_pack.py pack      clips and weights of ../shared, wheels, into .first_light/
python tools/bench/first_light_pack.py collect FOUND --commit HASH
                                                        records into outputs/paper-partial/runs, results into
                                                        outputs/evidence/gpu/first_light.json; then `page`
python tools/bench/first_light_pack.py page             again the tables of docs/performance.md
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from esc_suite.run.together import exit_with  # noqa: E402
from esc_utils.errors import UserError  # noqa: E402
from esc_utils.paths import MN04_FILE  # noqa: E402

SHARED = ROOT.parent / "shared"
PROFILE = "paper-partial"
KEPT = ROOT / "outputs" / "evidence" / "gpu" / "first_light.json"
PAGE, MARKS = ROOT / "docs" / "performance.md", ("<!-- gpu -->", "<!-- /gpu -->")
MOST_MIB = 60  # of the checkout and the folder together
# What a machine with PyTorch, pandas, scikit-learn and matplotlib may lack: of the suite, and of the peers'
# way.
WHEELS = (
    "soundfile", "cffi", "pycparser", "soxr", "pydantic", "pydantic-core", "annotated-types",
    "typing-inspection",
    "typing-extensions", "pytorch-optimizer", "librosa", "audioread", "decorator", "pooch", "platformdirs",
    "lazy-loader",
    "torchlibrosa", "panns-inference",
)  # fmt: skip
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17)] + [
    "manylinux2014_x86_64",
    "any",
]


def pack(into: Path, python: str) -> None:
    """Fill the folder anew. UserError where something to carry is missing, or all of it is too large."""
    clips, weights = SHARED / "us8k-real", SHARED / "mn04" / MN04_FILE
    for needed in (clips / "unpack.py", weights):
        if not needed.is_file():
            raise UserError(
                f"no {needed}: first light needs real clips and mn04's weights beside the checkout"
            )
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(clips, into, copy_function=shutil.copyfile)
    shutil.copyfile(weights, into / MN04_FILE)
    download(into / "wheels", python)
    size = sum(path.stat().st_size for path in [*into.rglob("*"), *checkout()] if path.is_file()) / 2**20
    if size > MOST_MIB:
        raise UserError(
            f"{size:.1f} MiB with the checkout, the most is {MOST_MIB}: leave something out of {into}"
        )
    print(f"{into}: {size:.1f} MiB with the checkout, of {MOST_MIB}")


def checkout() -> list[Path]:
    """The files of the working tree that git knows."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
    ).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name]


def download(into: Path, python: str) -> None:
    """Wheels of WHEELS in the versions of requirements.lock, for another Python than this one."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    wanted = [f"{name}=={versions[name]}" for name in WHEELS]
    about = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    about += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        *about,
        "-d",
        str(into),
    ]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(
            f"wheels for Python {python} cannot be fetched ({lines[-1] if lines else 'pip failed'})"
        )


def collect(found: Path, outputs: Path, commit: str) -> None:
    """Take back what one call of `first_light.py` wrote; calling it again for the same one adds nothing."""
    results = found / "first_light.jsonl"
    if not results.is_file():
        raise UserError(f"no {results}: give the folder that first_light.py wrote to (--out)")
    for path in sorted(found.glob("records-*.tar.gz")):
        unpack(path, outputs)
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    calls = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else []
    if lines not in [call["results"] for call in calls]:
        calls.append({"commit": commit, "results": lines})
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text("[\n" + ",\n".join(_call(call) for call in calls) + "\n]\n", encoding="utf-8")
    pictures(outputs)
    print(f"records into {outputs / PROFILE}, results into {KEPT.relative_to(ROOT)}")


def unpack(archive: Path, into: Path) -> None:
    """Write the files of an archive of records under a folder. UserError for a name that would lead out of
    it."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            target = (into / member.name).resolve()
            if not member.isfile() or not target.is_relative_to(into.resolve()):
                raise UserError(
                    f"{archive} holds '{member.name}', which is no record: take the one that first_light.py "
                    "wrote"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(tar.extractfile(member).read())


def _call(call: dict) -> str:
    lines = ",\n".join(f"  {json.dumps(line)}" for line in call["results"])
    return f'{{"commit": {json.dumps(call["commit"])}, "results": [\n{lines}\n]}}'


def pictures(outputs: Path) -> None:
    """The two figures of pseudo-labels that notebook 04 draws, of every FixMatch record: a run on another
    machine has no rendered notebook."""
    from esc_suite import figures
    from esc_suite.notebook import keeper
    from esc_suite.records import runs
    from esc_suite.results import comparison
    from esc_utils import config
    from esc_utils.urbansound import CLASSES

    classes = [name.replace("_", " ") for name in CLASSES]
    for folder in comparison.run_folders(outputs, PROFILE, "fixmatch_*"):
        run = runs.read(folder)
        arrays, tau = run.predictions, run.metrics["config"]["tau"]
        knobs = config.for_run(
            PROFILE, run.metrics["experiment"], train_fold=run.metrics["fold"], outputs=str(outputs)
        )
        keep = keeper(knobs, "04_fixmatch_ablations", run=run)
        audited = (arrays["pseudo_confidence"], arrays["pseudo_label"], arrays["unlabelled_label"])
        keep(
            figures.mask_heatmap(*audited, classes, tau, title=f"Confidence mask: {run.name}"),
            name="confidence_mask",
            alt="Heat map of unlabelled clips by epochs: accepted and right, accepted and wrong, rejected, "
            "not drawn",
            caption=f"State of every pseudo-label of {run.name} in every epoch, tau = {tau:g}.",
        )
        keep(
            figures.pseudo_label_by_class(
                *audited,
                tau,
                classes,
                arrays["unlabelled_recording"],
                title=f"Pseudo-labels by class: {run.name}",
            ),
            name="pseudo_labels_by_class",
            alt="Ten panels, one per true class: accepted share as an area, accuracy of the accepted as a "
            "line, over epochs",
            caption=f"Coverage and accuracy by true class, {run.name}; rec.: recordings that any accepted "
            "clip came from.",
        )


def page() -> None:
    """Write the tables of docs/performance.md between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    start, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    PAGE.write_text(f"{text[:start]}\n{tables()}\n{text[end:]}", encoding="utf-8")


def tables() -> str:
    """Speed, agreement with the CPU and where a step's time goes, in Markdown, from the committed results
    alone."""
    calls = json.loads(KEPT.read_text(encoding="utf-8"))
    lines = [(call["commit"], line) for call in calls for line in call["results"]]
    about = next(line for _, line in reversed(lines) if "matrix_rate" in line)
    words = {"fixmatch": "FixMatch", "supervised": "supervised", "scoring": "inference"}
    found = [
        f"{about['device']}, torch {about['versions']['torch']}, CUDA {about['versions']['cuda']}, cuDNN "
        f"{about['versions']['cudnn']}; its own bfloat16 matrix rate {about['matrix_rate'] / 1e12:.0f} "
        "TFLOP/s.",
        "",
        "| network | step | way | ms | loaded clips/s | share of that rate | GB at the peak | commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for commit, line in lines:
        if line.get("phase") == "throughput" and "milliseconds" in line:
            # A graph's own memory is not counted there
            peak = "" if "graph" in line["way"] else f"{line['peak_gb']:.1f}"
            found.append(
                f"| {line['network']} | {words[line['step']]} | {line['way']} | {line['milliseconds']:.1f} | "
                f"{line['clips_per_second']:,.0f} | {line['share_of_matrix_rate']:.1%} | {peak} | {commit} |"
            )
    found += [
        "",
        "Twenty FixMatch steps on real clips against the same on the CPU in float32, dropout off:",
        "",
    ]
    found += [
        "| network | arithmetic | loss, first step | first five | all twenty | same class in the end |",
        "|---|---|---|---|---|---|",
    ]
    for _, line in lines:
        if line.get("phase") == "agreement" and "way" in line:
            gaps = " | ".join(f"{line[key]:.1e}" for key in ("loss_first", "loss_5", "loss_all"))
            found.append(f"| {line['network']} | {line['way']} | {gaps} | {line['same_class']:.0%} |")
    for commit, line in lines:
        if line.get("phase") == "profile" and "kernels" in line:
            found += [
                "",
                f"Kernels of a FixMatch step of {line['network']} at {commit}, of {line['milliseconds']:.0f} "
                "ms:",
                "",
            ]
            found += ["| kernel | ms | launches |", "|---|---|---|"]
            found += [
                f"| `{_kernel(name)}` | {spent:.1f} | {count} |" for name, spent, count in line["kernels"][:8]
            ]
    return "\n".join(found)


def _kernel(name: str) -> str:
    """The name of a kernel without its namespaces and arguments."""
    plain = re.sub(r"<.*|\(.*", "", name.replace("(anonymous namespace)", "").removeprefix("void "))
    return plain.rsplit("::", 1)[-1][:60]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack")
    one.add_argument("--into", type=Path, default=ROOT / ".first_light")
    one.add_argument("--python", default="3.12", help="version on the machine with the card")
    commands.add_parser("page")
    two = commands.add_parser("collect")
    two.add_argument("found", type=Path)
    two.add_argument("--commit", required=True, help="of the code that ran there")
    two.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    options = parser.parse_args()
    with exit_with():
        if options.command == "pack":
            pack(options.into.resolve(), options.python)
            return
        if options.command == "collect":
            collect(options.found, options.outputs.resolve(), options.commit)
        page()


if __name__ == "__main__":
    main()
