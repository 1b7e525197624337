"""What one `--plugin` argument names: an attribute, a module or classes of a file, or an object of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.core.errors import PluginError
from uce.core.registry.sources import from_argument

HEAD = "import uce\n"
CLASS = "class {}:\n    @uce.hookimpl\n    def uce_step(self, event): ...\n"
FUNCTION = "@uce.hookimpl\ndef uce_step(event): ...\n"


def names(path: Path, text: str) -> list[str]:
    path.write_text(HEAD + text, encoding="utf-8")
    return [candidate.name for candidate in from_argument(str(path))]


def test_the_attribute_plugin_comes_first_and_says_its_name(tmp_path: Path) -> None:
    path = tmp_path / "my_file.py"
    assert names(path, CLASS.format("A") + FUNCTION + "plugin = A()\nplugin.name = 'own'\n") == ["own"]
    assert names(path, CLASS.format("A") + "plugin = A\n") == ["my-file"], "a class is made, the file names it"
    assert names(path, CLASS.format("A") + "plugin = A()\nplugin.name = 3\n") == ["my-file"], "a name is a text"


def test_marked_functions_make_the_module_a_plugin(tmp_path: Path) -> None:
    assert names(tmp_path / "Step_log.py", FUNCTION + CLASS.format("A")) == ["step-log"]
    assert names(tmp_path / "named.py", FUNCTION + "name = 'other'\n") == ["other"]


def test_else_every_class_of_the_file_that_has_marked_methods(tmp_path: Path) -> None:
    path = tmp_path / "several.py"
    plain = "class Plain: ...\n"
    assert names(path, CLASS.format("OnlyOne") + plain) == ["several"]
    assert names(path, CLASS.format("StepLog") + CLASS.format("Bell") + plain) == ["bell", "step-log"]


def test_a_candidate_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(HEAD + FUNCTION)
    (found,) = from_argument(str(path))
    assert (found.distribution, found.version, found.origin) == (str(path), "", str(path))


def test_an_object_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "importable_for_sources.py").write_text(HEAD + CLASS.format("StepLog") + CLASS.format("Bell"))
    monkeypatch.syspath_prepend(tmp_path)
    assert [one.name for one in from_argument("importable_for_sources:StepLog")] == ["step-log"]
    text = "--plugin importable_for_sources:Steplog: module 'importable_for_sources' has no 'Steplog'"
    with pytest.raises(PluginError, match=text):
        list(from_argument("importable_for_sources:Steplog"))


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("finch", "--plugin finch: give a path to a .py file, or package.module:object"),
        ("gone.py", "--plugin gone.py: no such file; give a path to a .py file"),
        ("no_such_module:x", "importing it raised ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_names_nothing(argument: str, text: str) -> None:
    with pytest.raises(PluginError, match=text):
        list(from_argument(argument))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("x = 1\n", "nothing in it is marked with @uce.hookimpl"),
        ("x = 1 / 0\n", "importing it raised ZeroDivisionError: division by zero"),
        ("def broken(:\n", "importing it raised SyntaxError"),
        ("raise SystemExit(3)\n", r"importing it raised ExitedError: sys\.exit\(3\)"),
        (CLASS.format("A") + "    def __init__(self, needed): ...\n", r"A\(\) raised TypeError: .*'needed'"),
    ],
)
def test_a_file_that_gives_no_plugin(tmp_path: Path, content: str, text: str) -> None:
    with pytest.raises(PluginError, match=rf"--plugin .*bad\.py: {text}"):
        names(tmp_path / "bad.py", content)


def test_what_an_import_prints_is_kept_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names(tmp_path / "loud.py", FUNCTION + "print('hello')\n")
    assert tuple(capsys.readouterr()) == ("", "hello\n")
