"""Papermill engine `esc`: an unknown or mistyped parameter is an error before anything runs, what a user can mend is one
line, and kernels talk over IPC sockets, so that parallel runs never race for ports."""

import ast
import base64
import errno
import logging
import os
import shutil
import sys
import tempfile
import traceback

import click
from jupyter_client.kernelspec import NoSuchKernel, get_kernel_spec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine

from esc_utils.config import RunConfig, from_notebook, parse_parameters, read_parameters
from esc_utils.errors import UserError

IOPUB_TIMEOUT = 60  # seconds from a cell's reply to the last of its output: papermill's 4 end a run where others are busy
FULL = (errno.ENOSPC, errno.EDQUOT)


class IpcKernelManager(AsyncKernelManager):
    """A kernel manager whose five channels are Unix sockets in a short folder of their own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.folder = tempfile.mkdtemp(prefix="esc-")
        self.transport = "ipc"
        self.ip = os.path.join(self.folder, "k")  # noqa: PTH118 (a socket name, not a path)

    def cleanup_connection_file(self) -> None:
        super().cleanup_connection_file()
        shutil.rmtree(self.folder, ignore_errors=True)


class EscEngine(NBClientEngine):
    """Checks parameters, then executes like papermill's own engine."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, **kwargs):
        """Refuses bad parameters while the output notebook of an earlier run is still untouched."""
        try:
            _check_sources(_command_line())
            _check(_passed(nb), _declared(nb))
            _check_kernel(kernel_name)
        except UserError as error:
            raise click.ClickException(str(error)) from None
        return super().execute_notebook(nb, kernel_name, **kwargs)

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        os.environ["PAPERMILL"] = "1"
        kwargs.setdefault("kernel_manager_class", "esc_suite.run.engine.IpcKernelManager")
        kwargs.setdefault("iopub_timeout", IOPUB_TIMEOUT)
        debug = bool(_passed(nb_man.nb).get("debug"))
        # Every kernel is interrupted before it is told to end, and one that is not yet at rest would log that as an error.
        kwargs.setdefault("extra_arguments", [] if debug else ["--log-level=CRITICAL"])
        try:
            result = super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except DeadKernelError:
            raise click.ClickException(
                "the kernel died (killed, or out of memory): give it more memory, or lower batch_size, fixmatch_batch_size "
                "or mu; the same command goes on from its last checkpoint"
            ) from None
        _one_line_errors(nb_man.nb, debug)
        return result


def _passed(nb) -> dict:
    """Parameters that papermill was given."""
    return dict(nb.metadata.get("papermill", {}).get("parameters", {}))


def _command_line() -> dict:
    """Papermill's options; none where it is called from Python."""
    context = click.get_current_context(silent=True)
    return context.params if context else {}


def _check_sources(options: dict) -> None:
    """UserError where a parameter file or YAML on the command line is at fault: papermill itself takes the later of two
    equal keys, and shows a traceback for what is not flat YAML."""
    for file in options.get("parameters_file") or ():
        if "://" not in file and file != "-":
            read_parameters(file)
    for text in options.get("parameters_yaml") or ():
        parse_parameters(text, f"-y '{' '.join(text.split())}'")
    for text in options.get("parameters_base64") or ():
        try:
            content = base64.b64decode(text, validate=True)
        except ValueError:
            raise UserError(f"-b '{text}' is not base64: encode the YAML anew, or give it with -y") from None
        parse_parameters(content, f"-b '{text}'")


def _check_kernel(name: str) -> None:
    try:
        get_kernel_spec(name)
    except NoSuchKernel:
        raise UserError(f"no kernel '{name}' here: leave out -k, or take one of `jupyter kernelspec list`") from None


def _declared(nb) -> set[str]:
    """Names that the notebook's own parameters cell sets; typed names, magics and shell lines are let stand, as Jupyter
    does. UserError where the cell is no Python."""
    names = set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            for node in ast.walk(ast.parse(_plain_python(cell.source))):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
    return names


def _plain_python(source: str) -> str:
    """A cell as IPython hands it to Python; of a cell magic such as %%time the lines under it, where they are Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    first, _, rest = source.lstrip().partition("\n")
    magic = first.startswith("%%")
    code = TransformerManager().transform_cell(rest if magic else source)
    try:
        ast.parse(code)
    except SyntaxError as error:
        if magic:
            return ""
        line = (error.text or "").strip()
        raise UserError(f"the parameters cell is no Python ({error.msg}, line {error.lineno}: {line}): mend it") from None
    return code


def _check(passed: dict, declared: set[str]) -> None:
    import difflib

    known = declared | set(RunConfig.model_fields)
    for name in passed:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            hint = f", did you mean '{close[0]}'?" if close else ": params/base.yaml lists all that exist"
            raise UserError(f"unknown parameter '{name}'{hint}")
    knobs = {name: value for name, value in passed.items() if name in RunConfig.model_fields}
    if "experiment" in declared | set(passed):
        from_notebook(knobs)


def _one_line_errors(nb, debug: bool) -> None:
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" and output.ename == "UserError" and not debug:
                raise click.ClickException(output.evalue)


class _Known(logging.Filter):
    """Papermill warns of every parameter that the parameters cell does not list: knobs of RunConfig are meant to be passed,
    and the engine itself refuses all others."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        known = text.rpartition(" ")[2] in RunConfig.model_fields or _command_line().get("engine") == "esc"
        return not (text.startswith("Passed unknown parameter: ") and known)


logging.getLogger("papermill").addFilter(_Known())


def _one_line(kind, error, trace) -> None:
    """What papermill's command line stumbles over before or after the engine (a file, the disk) is one line too, for runs
    with `--engine esc`; anything else keeps its traceback."""
    frames = (frame for frame, _ in traceback.walk_tb(trace) if frame.f_globals.get("__name__") == "papermill.cli")
    options = next((frame.f_locals for frame in frames if frame.f_code.co_name == "papermill"), {})
    line = None
    if options.get("engine") == "esc" and not options.get("parameters_final", {}).get("debug"):
        line = _mendable(error, options)
    if line is None:
        _usual_hook(kind, error, trace)
    else:
        print(f"Error: {line}", file=sys.stderr)


def _mendable(error: BaseException, options: dict) -> str | None:
    try:
        _check_sources(options)
    except UserError as bad:
        return str(bad)
    source, target, folder = (options.get(name) for name in ("input_path", "output_path", "cwd"))
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    if type(error).__module__.startswith("nbformat") or isinstance(error, UnicodeDecodeError):
        return f"{source} is not a notebook ({reason[:100]}): take the one that is checked in"
    if not isinstance(error, OSError):
        return None
    if error.filename in (source, folder) and error.filename:
        return f"{error.filename} cannot be read ({reason}): check the name"
    if error.filename == target or error.errno in FULL or "output folder" in reason:
        return f"{target} cannot be written ({reason}): make its folder, free some space, or write elsewhere"
    return f"{error.filename} cannot be used ({reason}): check its permissions and its disk" if error.filename else None


_usual_hook, sys.excepthook = sys.excepthook, _one_line
