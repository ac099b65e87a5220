"""A disk that is nearly full: a small tmpfs in a folder's place, for one command."""

from pathlib import Path


def small_disk(place: Path, kilobytes: int) -> tuple[str, ...]:
    """A command that runs what follows with a tmpfs of that size in `place`'s place; <place>.seen shows how
    it ended."""
    script = (
        f"cp -a {place} {place}.kept && mount -t tmpfs -o size={kilobytes}k tmpfs {place} && cp -a "
        f"{place}.kept/. {place}"
        f' && "$@"; code=$?; cp -a {place} {place}.seen; exit $code'
    )
    return ("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh")
