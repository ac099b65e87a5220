"""What `first_light.py` needs on a machine without a network, in one folder; and what it found, back into the project.

python tools/bench/first_light_pack.py pack             clips and weights of ../shared, and wheels, into .first_light/
python tools/bench/first_light_pack.py collect FOUND    records into outputs/paper-partial/runs, results into
                                                        outputs/evidence/paper-partial/first_light.jsonl
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from esc_utils.errors import UserError, exit_with  # noqa: E402
from esc_utils.provenance import MN04_FILE  # noqa: E402

SHARED = ROOT.parent / "shared"
MOST_MIB = 60  # of the checkout and the folder together
# What a machine with PyTorch, pandas, scikit-learn and matplotlib may lack: of the suite, and of the peers' way.
WHEELS = (
    "soundfile", "cffi", "pycparser", "soxr", "pydantic", "pydantic-core", "annotated-types", "typing-inspection",
    "typing-extensions", "pytorch-optimizer", "librosa", "audioread", "decorator", "pooch", "platformdirs", "lazy-loader",
    "torchlibrosa", "panns-inference",
)  # fmt: skip
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64", "any"]


def pack(into: Path, python: str) -> None:
    """Fill the folder anew. UserError where something to carry is missing, or all of it is too large."""
    clips, weights = SHARED / "us8k-real", SHARED / "mn04" / MN04_FILE
    for needed in (clips / "unpack.py", weights):
        if not needed.is_file():
            raise UserError(f"no {needed}: first light needs real clips and mn04's weights beside the checkout")
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(clips, into, copy_function=shutil.copyfile)
    shutil.copyfile(weights, into / MN04_FILE)
    download(into / "wheels", python)
    size = sum(path.stat().st_size for path in [*into.rglob("*"), *checkout()] if path.is_file()) / 2**20
    if size > MOST_MIB:
        raise UserError(f"{size:.1f} MiB with the checkout, the most is {MOST_MIB}: leave something out of {into}")
    print(f"{into}: {size:.1f} MiB with the checkout, of {MOST_MIB}")


def checkout() -> list[Path]:
    """The files of the working tree that git knows."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name]


def download(into: Path, python: str) -> None:
    """Wheels of WHEELS in the versions of requirements.lock, for another Python than this one."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    versions = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    wanted = [f"{name}=={versions[name]}" for name in WHEELS]
    about = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    about += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *about, "-d", str(into)]
    done = subprocess.run([*command, *wanted], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(f"wheels for Python {python} cannot be fetched ({lines[-1] if lines else 'pip failed'})")


def collect(found: Path, outputs: Path) -> None:
    """Take back what `first_light.py` wrote."""
    archives, results = sorted(found.glob("records-*.tar.gz")), found / "first_light.jsonl"
    if not results.is_file():
        raise UserError(f"no {results}: give the folder that first_light.py wrote to (--out)")
    for path in archives:
        with tarfile.open(path) as tar:
            tar.extractall(outputs, filter="data")
    kept = ROOT / "outputs" / "evidence" / "paper-partial" / results.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        file.write(results.read_text(encoding="utf-8"))
    print(f"{len(archives)} archives of records into {outputs}, results into {kept.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("pack")
    one.add_argument("--into", type=Path, default=ROOT / ".first_light")
    one.add_argument("--python", default="3.12", help="version on the machine with the card")
    two = commands.add_parser("collect")
    two.add_argument("found", type=Path)
    two.add_argument("--outputs", type=Path, default=ROOT / "outputs")
    options = parser.parse_args()
    with exit_with():
        if options.command == "pack":
            pack(options.into.resolve(), options.python)
        else:
            collect(options.found, options.outputs)


if __name__ == "__main__":
    main()
