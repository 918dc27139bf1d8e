"""The plugin manager: who may deliver what, what is refused, and how it is switched off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from sam3port.errors import UsageError
from sam3port.plugins import load_plugins, switched_off
from tests.patching.lab import PLUGIN, Lab, distribution, make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def complaint(lab: Lab, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit status of `sam3port ...` and what it says; never a traceback."""
    process = lab.python("-m", "sam3port", *arguments, **environment)
    assert "Traceback" not in process.stderr
    return process.returncode, " ".join(process.stderr.split())


# Switching off.


def test_an_unknown_name_lists_the_known_ones(lab: Lab) -> None:
    status, said = complaint(lab, "patches", "--disable", "no_such_patch")
    assert status == 2
    assert "cannot switch off no_such_patch: no patch or plugin has that name" in said
    known = said.partition("the known names are ")[2].split(", ")
    assert {"demo", "double", "kernel", "cpu_device", "triton_stub"} <= set(known)
    assert known == sorted(known)
    assert not [name for name in known if name.startswith("sam3port.")]  # the program itself cannot be switched off


@pytest.mark.parametrize("name", ["sam3port.cli.commands", "float-rope", "FLOAT_ROPE", "sam3port_patches"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError, match="no patch or plugin has that name"):
        load_plugins().select([name])


def test_several_unknown_names() -> None:
    with pytest.raises(UsageError, match="cannot switch off a, b: no patch"):
        load_plugins().select(["b", "cpu_device", "a"])


def test_the_argument_the_variable_and_the_file_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.sam3port]\ndisable = ["c"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAM3PORT_DISABLE", " b ,, b2,")
    assert switched_off(["a"]) == {"a", "b", "b2", "c"}
    monkeypatch.delenv("SAM3PORT_DISABLE")
    assert switched_off() == {"c"}


@pytest.mark.parametrize(
    "text",
    [
        '[tool.sam3port]\ndisable = ["float_rope"]\n',
        '[tool]\nsam3port = {disable = ["float_rope"]}\n',
        '[tool]\nsam3port.disable = ["float_rope"]\n',
        'tool.sam3port.disable = ["float_rope"]\n',
        '[ tool . "sam3port" ]\ndisable = ["float_rope"]\n',
        '[tool.\'sam3port\']\n"disable" = ["float_rope"] # why\n',
    ],
)
def test_every_spelling_of_the_table(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert switched_off() == {"float_rope"}


@pytest.mark.parametrize(
    "text", ["", "[tool.other]\n", '[project]\ndependencies = ["sam3port"]\n', "[tool.sam3port]\n"]
)
def test_a_file_that_switches_nothing_off(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert switched_off() == set()


def test_the_nearest_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "project" / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.sam3port]\ndisable = ["outer"]\n')
    (tmp_path / "project" / "pyproject.toml").write_text('[tool.sam3port]\ndisable = ["inner"]\n')
    monkeypatch.chdir(inner)
    assert switched_off() == {"inner"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tool.sam3port]\ndisable = "float_rope"\n', "must be a list of names"),
        ("[tool.sam3port]\ndisable = [1]\n", "must be a list of names"),
        ("[tool.sam3port]\ndisable = {float_rope = true}\n", "must be a list of names"),
        ("[tool.sam3port]\ndisable = [", "cannot be read"),
        ("[tool.sam3port]\ndisable = ['\xff']\n".encode("latin-1"), "cannot be read"),
        ('[tool]\nsam3port = "off"\n', "[tool.sam3port] in"),
        ('[tool.sam3port]\ndisabel = ["float_rope"]\n', "disabel"),
    ],
)
def test_a_file_that_is_wrong(text: str | bytes, said: str, lab: Lab) -> None:
    """Named with its path; a misspelt key would otherwise be a quiet no-op."""
    (lab.folder / "pyproject.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    status, complained = complaint(lab, "patches")
    assert status == 2
    assert said in complained
    assert str(lab.folder / "pyproject.toml") in complained


# Third parties that go wrong.

EMPTY = "@hookimpl\ndef sam3port_patches():\n    return []\n"
IMPORTS = "from sam3port.hookspecs import hookimpl\nfrom sam3port.patching import Edit, Kind, Patch\n"


def refused(lab: Lab, source: str, *said: str, status: int, name: str = "wrong") -> None:
    """The plugin is named with a way out; and the way out works."""
    distribution(lab.plugins, "wrong_plugin", IMPORTS + source, entry=name)
    assert_refused(lab, said, status, name)


def assert_refused(lab: Lab, said: Sequence[str], status: int, name: str) -> None:
    found, complained = complaint(lab, "patches")
    assert found == status, complained
    for text in (*said, name, f"--disable {name}"):
        assert text in complained
    assert lab.python("-m", "sam3port", "patches", "--disable", name).returncode == 0
    assert lab.python("-m", "sam3port", "patches", SAM3PORT_DISABLE=name).returncode == 0
    lab.output(f"import sam3port; sam3port.install(disable=[{name!r}])\nimport sam3.model.box, sam3.perflib.lazy")


def test_a_misspelt_hook(lab: Lab) -> None:
    refused(lab, "@hookimpl\ndef sam3port_patchs():\n    return []\n", "sam3port_patchs", status=2)


def test_a_hook_with_arguments_that_it_does_not_have(lab: Lab) -> None:
    refused(lab, "@hookimpl\ndef sam3port_patches(config):\n    return []\n", "config", "sam3port_patches", status=2)


def test_a_forgotten_marker(lab: Lab) -> None:
    """Pluggy would take no notice of it: a plugin that delivers nothing, quietly."""
    refused(lab, EMPTY.replace("@hookimpl\n", ""), "implements no hook", "hookimpl", status=2)


def test_a_plugin_that_fails_when_it_is_imported(lab: Lab) -> None:
    refused(lab, "raise OSError('no licence')\n", "cannot be loaded", "OSError: no licence", "wrong_plugin", status=1)


def test_a_plugin_that_fails_with_an_error_that_pluggy_raises_too(lab: Lab) -> None:
    refused(lab, "raise ValueError('no number')\n", "cannot be loaded", "ValueError: no number", status=1)


def test_a_plugin_that_is_not_there(lab: Lab) -> None:
    distribution(lab.plugins, "wrong_plugin", "", entry="wrong")
    (lab.plugins / "wrong_plugin.py").unlink()
    assert_refused(lab, ["No module named 'wrong_plugin'"], 1, "wrong")


def test_a_plugin_that_fails_in_its_hook(lab: Lab) -> None:
    refused(lab, "@hookimpl\ndef sam3port_patches():\n    1 / 0\n", "sam3port_patches: ZeroDivisionError", status=1)


@pytest.mark.parametrize("returned", ["None", "1", "['name']", "[None]", "'text'"])
def test_a_hook_that_delivers_something_else(lab: Lab, returned: str) -> None:
    refused(lab, f"@hookimpl\ndef sam3port_patches():\n    return {returned}\n", "sam3port_patches", status=1)


def test_a_patch_that_may_not_be_declared(lab: Lab) -> None:
    patch = "Patch('No Name', Kind.FIX, '', '', '', '', (Edit('sam3', '', 'a', 'b'),))"
    refused(lab, EMPTY.replace("[]", f"[{patch}]"), "a patch is named like_this, not 'No Name'", status=1)


PATCH = "Patch({name!r}, Kind.FIX, 's', 'r', 'u', 'w', (Edit('sam3.model.plain', 'plain', 'return 1', 'return 2'),))"


@pytest.mark.parametrize("name", ["pin_memory", "double"])
def test_two_plugins_deliver_one_name(lab: Lab, name: str) -> None:
    """One of ours, or of another third party's."""
    for entry in ("aaa", "zzz"):
        twice = f"@hookimpl\ndef sam3port_patches():\n    return [{PATCH.format(name=name)}]\n"
        refused(lab, twice, f"two plugins deliver a patch named {name}", status=2, name=entry)


def test_two_distributions_with_one_entry(lab: Lab) -> None:
    refused(
        lab, f"@hookimpl\ndef sam3port_patches():\n    return [{PATCH.format(name='other')}]\n", status=2, name="demo"
    )


def test_an_entry_named_as_one_of_ours(lab: Lab) -> None:
    """It would be switched off together with ours."""
    distribution(lab.plugins, "wrong_plugin", IMPORTS + EMPTY, "pin_memory")
    process = lab.run("from sam3port.plugins import load_plugins\nload_plugins()")
    assert "UsageError: the plugin pin_memory (wrong_plugin) is refused" in process.stderr


def test_a_plugin_that_is_off_is_not_even_imported(lab: Lab) -> None:
    distribution(lab.plugins, "loud", "print('imported')", entry="loud")
    code = "import sam3port; sam3port.install(disable=['loud'])\nfrom sam3.model.box import area; print(area(2, 3))"
    assert lab.output(code) == "12"


def test_a_plugin_may_be_a_class_an_object_or_a_function_of_a_module(lab: Lab) -> None:
    source = PLUGIN.replace(
        "@hookimpl\ndef sam3port_patches():", "class Things:\n  @hookimpl\n  def sam3port_patches(self):"
    )
    distribution(lab.plugins, "demo_plugin", source + "\n\nTHINGS = Things()\n", entry="demo")
    entry = lab.plugins / "demo_plugin-1.0.dist-info/entry_points.txt"
    entry.write_text("[sam3port]\ndemo = demo_plugin:THINGS\n")
    assert lab.output("import sam3port; print(sam3port.install().patches)") == "('double', 'kernel')"


# What is ours goes through the same hooks.


def test_our_patches_are_plugins() -> None:
    plugins = load_plugins()
    assert plugins.origins()["pin_memory"] == "pin_memory"
    assert plugins.select(["pin_memory"]) == {"pin_memory"}


def test_ours_come_first_in_the_order_of_their_names(lab: Lab) -> None:
    distribution(
        lab.plugins,
        "aaa_plugin",
        f"{IMPORTS}@hookimpl\ndef sam3port_patches():\n    return [{PATCH.format(name='aaa')}]\n",
    )
    names = lab.output("from sam3port.plugins import load_plugins\nprint(*load_plugins().patches())").split()
    ours = sorted(load_plugins().patches())
    assert names == [*ours, "aaa", "double", "kernel"]


def test_loading_is_done_once_for_each_request() -> None:
    assert load_plugins() is load_plugins(frozenset())
    assert load_plugins(frozenset({"pin_memory"})) is load_plugins(frozenset({"pin_memory"}))
