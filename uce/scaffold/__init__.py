"""`uce plugins new`: a complete, installable package for one plugin, from the templates beside this file.

The package works as it stands: its plugin is a small method that passes the contract kit and its own test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, PluginError, unknown_name
from uce.core.hookspecs import SELECTED_HOOKS, STAGE_HOOKS

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
LONGEST_NAME = 60
KINDS = (*SELECTED_HOOKS, "backbone", "observer")
"""What can be begun: stages, and everything else that uce asks plugins for."""
# How the plugin is used; a refiner joins the chain that there is.
_COMMANDS = {stage: f"uce run PICTURE -o out --{stage} NAME" for stage in STAGE_HOOKS} | {
    "refiner": "uce run PICTURE -o out --refiner +NAME",
    "encoder": "uce evaluate RUN --encoder NAME",
    "exporter": "uce export RUN --to NAME -o exported",
    "executor": "uce batch PICTURES -o many --executor NAME",
    "backbone": "uce run PICTURE -o out --model NAME",
    "observer": "uce run PICTURE -o out",
}


@dataclass(frozen=True)
class NewPackage:
    """What was written.

    Attributes:
        folder: the package's folder, called by the plugin's name.
        distribution: the name that pip knows it by.
        module: its Python module.
        files: paths within `folder`.
        command: how the plugin is used, such as "uce run PICTURE -o out --clusterer my-localizer".
    """

    folder: Path
    distribution: str
    module: str
    files: tuple[str, ...]
    command: str


def new_package(name: str, stage: str, out: str | Path | None = None, *, replace: bool = False) -> NewPackage:
    """Write a package with one plugin.

    Args:
        name: of the plugin and the folder: small letters, digits and single dashes.
        stage: one of `KINDS`.
        out: the parent folder, made where it is missing; None: the current one.
        replace: allow a built-in's name; the plugin takes the built-in's place wherever it is installed.

    Raises:
        ConfigError: a name or stage that is not allowed, or a folder that is there already or cannot be written.
        PluginError: the name is taken by a built-in (and not `replace`) or by an installed plugin.
    """
    if stage not in KINDS:
        raise ConfigError(unknown_name("stage", stage, KINDS))
    _check_name(name)
    replaced = _check_free(name, stage, replace)
    folder = Path(out or ".") / name
    if folder.exists() or folder.is_symlink():
        raise ConfigError(f"{folder} is there already; choose another name, or another parent folder with --out")
    distribution = f"uce-{name}" if replaced or _module_taken(name) else name
    module = distribution.replace("-", "_")
    command = _COMMANDS[stage].replace("NAME", name)
    values = {
        "name": name,
        "stage": stage,
        "distribution": distribution,
        "module": module,
        "class_name": "".join(part.capitalize() for part in name.split("-")) + stage.capitalize(),
        "command": command,
        "prefix": f"refiner.{name}" if stage == "refiner" else stage,
        "replaced": replaced,
        "uce": _uce_range(),
    }
    files = dict(_rendered(values))
    with _whole_folder(folder) as aside:
        for path, text in files.items():
            (aside / path).parent.mkdir(parents=True, exist_ok=True)
            (aside / path).write_text(text, encoding="utf-8")
    return NewPackage(folder, distribution, module, tuple(files), command)


def _check_name(name: str) -> None:
    from uce.core.flow.plugin_info import is_plugin_name, kebab

    if is_plugin_name(name) and len(name) <= LONGEST_NAME:
        return
    near = "-".join(filter(None, "".join(c if c.isascii() and c.isalnum() else "-" for c in kebab(name)).split("-")))
    near = near.lstrip("-0123456789")[:LONGEST_NAME].strip("-")
    hint = f" Did you mean {near!r}?" if is_plugin_name(near) else ""
    raise ConfigError(
        f"plugin name {name!r} is not allowed; use small letters, digits and single dashes, a letter first, at most "
        f"{LONGEST_NAME}, such as my-localizer.{hint}"
    )


def _check_free(name: str, stage: str, replace: bool) -> bool:
    """Whether the name is a built-in's, which `replace` must then allow."""
    from uce.core.registry.manager import load_manager

    manager = load_manager()
    owners = [info for info in manager.plugins if info.name == name and stage in info.stages]
    for info in owners:
        if info.distribution != "uce-concepts":
            raise PluginError(
                f"the {stage} {name!r} is brought by the installed {info.distribution} {info.version}, and two plugins "
                f"of one name exclude each other; choose another name, or pip uninstall {info.distribution}"
            )
    if owners and stage == "backbone":
        raise PluginError(
            f"the backbone {name!r} is built in; choose another name, since all backbones are asked in turn"
        )
    if owners and not replace:
        raise PluginError(
            f"the {stage} {name!r} is built in, and the new package would replace it wherever it is installed; choose "
            "another name, or give --replace if that is what you want"
        )
    return bool(owners)


def _module_taken(name: str) -> bool:
    """Whether a module called after the plugin would collide with Python's or an installed one."""
    module = name.replace("-", "_")
    if iskeyword(module) or module in sys.stdlib_module_names:
        return True
    with contextlib.suppress(ImportError, ValueError):
        return find_spec(module) is not None
    return True


def _uce_range() -> str:
    """Versions of uce that a package written now works with: up to the next that may break it."""
    from uce.version import __version__

    major, minor = (int(part) for part in __version__.split(".")[:2])
    return f">={major}.{minor},<{f'0.{minor + 1}' if major == 0 else major + 1}"


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Python and Markdown, no HTML
    )


def _rendered(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every file of the package: path and text."""
    environment, stage, module = _environment(), values["stage"], values["module"]
    for path, template in (
        ("pyproject.toml", "pyproject.toml.jinja"),
        ("README.md", "README.md.jinja"),
        (f"{module}.py", f"module/{stage}.py.jinja"),
        (f"tests/test_{module}.py", f"test/{stage}.py.jinja"),
        (".gitignore", "gitignore.jinja"),
    ):
        yield path, environment.get_template(template).render(values)


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into that gets its name when the block ends well, and is gone otherwise.

    Raises:
        ConfigError: it cannot be written.
    """
    aside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        yield aside
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o777 & ~umask)  # mkdtemp makes folders that only the owner enters
        aside.rename(folder)
    except OSError as error:
        raise ConfigError(
            f"cannot write {folder}: {error.strerror or error}; choose another parent folder with --out"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
