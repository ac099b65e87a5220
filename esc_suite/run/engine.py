"""Papermill engine `esc`: an unknown or mistyped parameter is an error before anything runs, what a user can
mend is one line, kernels are this environment's own whatever a person has set up, and they talk over Unix
sockets where there is a place for those, so that parallel runs never race for ports."""

import ast
import base64
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpec, NoSuchKernel, get_kernel_spec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine

from esc_suite.run.environment import INLINE, settled
from esc_suite.run.sockets import short_folder
from esc_utils.config import RunConfig, from_notebook, parse_parameters, read_parameters
from esc_utils.errors import UserError

# Seconds from a cell's reply to the last of its output: papermill's 4 end a run where others are busy
IOPUB_TIMEOUT = 60
SAVE_EVERY = 5  # s between two writings of a notebook that is under way
# Run/warm.py; without a server as usual
WARM = {"kernel_provisioner": {"provisioner_name": "esc-warm", "config": {}}}


class OwnKernelManager(AsyncKernelManager):
    """A manager of `python3` kernels of this environment, in a folder of their own: their five channels as
    Unix sockets (TCP where the folder can hold none), connection file, IPython's settings."""

    def __init__(self, **kwargs):
        self.places = ExitStack()
        super().__init__(**kwargs)
        if self.kernel_name == NATIVE_KERNEL_NAME:  # not one of that name among a person's own kernels
            self._kernel_spec = KernelSpec(**get_kernel_dict() | {"metadata": WARM})
        folder = self.places.enter_context(short_folder())
        if folder:
            self.transport, self.ip = "ipc", f"{folder}/k"
        self.folder = Path(folder or self.places.enter_context(TemporaryDirectory(prefix="esc-")))
        self.connection_file = str(self.folder / "connection.json")

    async def start_kernel(self, **kwargs) -> None:
        await super().start_kernel(**kwargs, env=settled(self.folder, backend=INLINE) | {"PAPERMILL": "1"})

    def cleanup_connection_file(self) -> None:
        super().cleanup_connection_file()
        self.places.close()


class EscEngine(NBClientEngine):
    """Checks parameters, then executes like papermill's own engine."""

    @classmethod
    def execute_notebook(cls, nb, kernel_name, **kwargs):
        """Refuses bad parameters while the output notebook of an earlier run is still untouched."""
        try:
            check_sources(command_line())
            _check(_passed(nb), _declared(nb))
            _check_kernel(kernel_name)
        except UserError as error:
            raise click.ClickException(str(error)) from None
        return super().execute_notebook(nb, kernel_name, **kwargs)

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
        kwargs.setdefault("kernel_manager_class", "esc_suite.run.engine.OwnKernelManager")
        kwargs.setdefault("iopub_timeout", IOPUB_TIMEOUT)
        debug = bool(_passed(nb_man.nb).get("debug"))
        # Every kernel is interrupted before it is told to end, and one that is not yet at rest would log that
        # as an error.
        kwargs.setdefault("extra_arguments", [] if debug else ["--log-level=CRITICAL"])
        try:
            with _seldom_saved(nb_man):
                result = super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
        except DeadKernelError:
            raise click.ClickException(
                "the kernel died (killed, or out of memory): give it more memory, or lower batch_size, "
                "fixmatch_batch_size "
                "or mu; the same command goes on from its last checkpoint"
            ) from None
        _one_line_errors(nb_man.nb, debug)
        _fold_away_parameters(nb_man.nb)
        return result


@contextmanager
def _seldom_saved(nb_man):
    """Papermill writes the whole notebook before and after every cell, prose included, which takes longer
    than most cells do: here at most once in SAVE_EVERY seconds. It writes it again at the end, however that
    is."""
    save, last = nb_man.save, time.monotonic()

    def in_time(**kwargs) -> None:
        nonlocal last
        if time.monotonic() - last >= SAVE_EVERY:
            save(**kwargs)
            last = time.monotonic()

    nb_man.save = in_time
    try:
        yield
    finally:
        del nb_man.save


def _fold_away_parameters(nb) -> None:
    """All knobs of a profile make a cell of 70 lines: JupyterLab shows it on a click."""
    for cell in nb.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {**cell.metadata.get("jupyter", {}), "source_hidden": True}


def _passed(nb) -> dict:
    """Parameters that papermill was given."""
    return dict(nb.metadata.get("papermill", {}).get("parameters", {}))


def command_line() -> dict:
    """Papermill's options; none where it is called from Python."""
    context = click.get_current_context(silent=True)
    return context.params if context else {}


def check_sources(options: dict) -> None:
    """UserError where a parameter file or YAML on the command line is at fault: papermill itself takes the
    later of two equal keys, and shows a traceback for what is not flat YAML."""
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
    if name == NATIVE_KERNEL_NAME:
        return
    try:
        get_kernel_spec(name)
    except NoSuchKernel:
        raise UserError(
            f"no kernel '{name}' here: leave out -k, or take one of `jupyter kernelspec list`"
        ) from None


def _declared(nb) -> set[str]:
    """Names that the notebook's own parameters cell sets; typed names, magics and shell lines are let stand,
    as Jupyter does. UserError where the cell is no Python."""
    names = set()
    for cell in nb.cells:
        if cell.cell_type == "code" and "parameters" in cell.metadata.get("tags", []):
            for node in ast.walk(ast.parse(_plain_python(cell.source))):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    names.add(node.id)
    return names


def _plain_python(source: str) -> str:
    """A cell as IPython hands it to Python; of a cell magic such as %%time the lines under it, where they are
    Python."""
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
        raise UserError(
            f"the parameters cell is no Python ({error.msg}, line {error.lineno}: {line}): mend it"
        ) from None
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
