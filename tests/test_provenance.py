"""The hash of the method's code: of what it says, on whichever Python it is read."""

import ast

import pytest

from esc_utils.provenance import dump

CODE = "def f(x, *, y):\n    return {**x, 'é': [y + 1.5, None], 'z': [], f'{x:>{y}}': 0}\n"


def as_elsewhere(tree: ast.AST) -> ast.AST:
    """The tree as another Python has it: empty fields missing, others that this one lacks, an empty text in a format."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values.append(ast.Constant(value=""))
        kept = [name for name in node._fields if getattr(node, name, None) not in (None, [])]
        node._fields = (*kept, "type_params", "default_value")
        node.type_params, node.default_value = [], None
    return tree


def test_the_same_code_is_the_same_text_on_another_python():
    here = ast.parse(CODE)
    assert dump(as_elsewhere(ast.parse(CODE))) == dump(here) == dump(ast.parse(f"# a comment\n{CODE}"))
    assert "type_params" not in dump(here) and "[]" not in dump(here) and dump(here).isascii()


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.5", "1.25"), ("1.5", "2"), ("+", "-"), ("None", "1"), ("{**x, ", "{x: x, "), ("*, y", "y"), ("'é'", "'è'"),
     (">", "<"), ("[]", "[[]]"), ("[]", "()"), (", None", "")],
)  # fmt: skip
def test_other_code_is_another_text(old, new):
    assert CODE.count(old) == 1
    assert dump(ast.parse(CODE.replace(old, new))) != dump(ast.parse(CODE))
