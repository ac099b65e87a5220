"""Progress of a long run: a bar in JupyterLab, a line an epoch under papermill, all of it in log.txt."""

import sys
import time
from pathlib import Path

LINES = 30  # printed at most; log.txt has every epoch


def in_browser() -> bool:
    """Whether a person watches in JupyterLab: a kernel that papermill did not start."""
    import os

    return "ipykernel" in sys.modules and "PAPERMILL" not in os.environ


class Progress:
    """Reports epochs of one run. `total`: epochs; `done`: epochs finished before a resume."""

    def __init__(self, log: Path, total: int, done: int = 0, quiet: bool = False):
        self.total, self.start, self.quiet = total, done, quiet
        self.began = time.monotonic()
        self.log = log.open("a", encoding="utf-8")
        self.every = max(1, -(-total // LINES))
        self.bar = None
        if in_browser() and not quiet:
            from tqdm.auto import tqdm

            self.bar = tqdm(total=total, initial=done, unit="epoch")

    def say(self, text: str) -> None:
        """A line to the log and, unless quiet, to the notebook."""
        self.log.write(text + "\n")
        self.log.flush()
        if not self.quiet and self.bar is None:
            print(text, flush=True)

    def epoch(self, number: int, row: dict, clips_per_second: float) -> None:
        """One finished epoch, `number` counted from 1; `row` is its line of the history."""
        passed = time.monotonic() - self.began
        left = passed / max(1, number - self.start) * (self.total - number)
        text = f"epoch {number}/{self.total}  loss {row['loss']:.3f}"
        if row["valid_accuracy"] is not None:
            text += f"  accuracy {row['valid_accuracy']:.1f}%"
        if row["mask_rate"] is not None:
            text += f"  mask rate {row['mask_rate']:.2f}"
        text += f"  {clips_per_second:.0f} clips/s  {left:.0f} s left"
        if self.bar is not None:
            self.bar.update(1)
            self.bar.set_postfix_str(text.split("  ", 1)[1])
            self.log.write(text + "\n")
        elif number % self.every == 0 or number == self.total:
            self.say(text)
        else:
            self.log.write(text + "\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()
        self.log.close()
