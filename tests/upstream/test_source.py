"""Which source is used, and what is allowed to differ in it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sam3port.errors import UpstreamError
from sam3port.upstream import pin, places
from sam3port.upstream.source import Origin, Upstream, UpstreamAbsent, ensure, locate
from sam3port.upstream.verify import verify
from tests.upstream.conftest import Project, commit_all, copy_pinned, git

DECODER = "sam3/model/decoder.py"


@pytest.fixture
def no_checkout(tmp_path: Path, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Our package lies in a folder without ``external/``; the cache is empty."""
    assert not fresh_cache.exists()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setattr(places, "CHECKOUT", folder)
    return folder


def test_the_order(no_checkout: Path, upstream_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpstreamAbsent, match=r"not on this machine") as absent:
        locate()
    assert "sam3port upstream fetch" in absent.value.remedy

    cached = copy_pinned(upstream_root, places.cached_copy())
    assert locate() == Upstream(cached, Origin.CACHE, pin.COMMIT, True)

    submodule = copy_pinned(upstream_root, no_checkout / pin.SUBMODULE)
    assert (locate().root, locate().origin) == (submodule, Origin.SUBMODULE)

    by_variable = copy_pinned(upstream_root, tmp_path / "by_variable")
    monkeypatch.setenv("SAM3PORT_UPSTREAM", str(by_variable))
    assert (locate().root, locate().origin) == (by_variable, Origin.USER)

    by_option = copy_pinned(upstream_root, tmp_path / "by_option")
    assert (locate(by_option).root, locate(by_option).origin) == (by_option, Origin.USER)

    monkeypatch.setenv("SAM3PORT_UPSTREAM", "")
    assert locate().origin is Origin.SUBMODULE


@pytest.mark.usefixtures("fresh_cache")
def test_an_empty_submodule_folder_is_no_source(no_checkout: Path) -> None:
    (no_checkout / pin.SUBMODULE).mkdir(parents=True)
    with pytest.raises(UpstreamAbsent):
        locate()


def test_a_submodule_that_lost_a_file_is_not_passed_over(no_checkout: Path, upstream_root: Path) -> None:
    """Not even its first one: using the cache in its place would hide the loss."""
    submodule = copy_pinned(upstream_root, no_checkout / pin.SUBMODULE)
    (submodule / "sam3" / "__init__.py").unlink()
    assert verify(locate()).missing == ("sam3/__init__.py",)


def test_the_submodule_must_be_as_pinned_whatever_its_commit(no_checkout: Path, upstream_root: Path) -> None:
    submodule = copy_pinned(upstream_root, no_checkout / pin.SUBMODULE)
    (submodule / DECODER).write_text("changed = True\n")
    commit = commit_all(submodule)
    found = locate()
    assert (found.commit, found.pinned) == (commit, True)
    with pytest.raises(UpstreamError, match=DECODER) as error:
        verify(found).require()
    assert "git submodule update" in error.value.remedy


class TestPlacesThatHoldNoSource:
    """Named by the user: an error, also where a fetch would help, since the user wanted another place."""

    @pytest.mark.parametrize("ask", [locate, ensure])
    def test_nothing_there(self, tmp_path: Path, ask: type[object]) -> None:
        with pytest.raises(UpstreamError, match=r"nowhere \(from --upstream\) does not exist") as error:
            ask(tmp_path / "nowhere")  # type: ignore[call-arg]
        assert not isinstance(error.value, UpstreamAbsent)

    def test_the_variable_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SAM3PORT_UPSTREAM", str(tmp_path / "nowhere"))
        with pytest.raises(UpstreamError, match=r"\(from SAM3PORT_UPSTREAM\) does not exist"):
            ensure()

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(UpstreamError, match="is not a folder"):
            locate(tmp_path / "file")

    def test_no_package(self, tmp_path: Path) -> None:
        with pytest.raises(UpstreamError, match="holds no folder sam3/") as error:
            locate(tmp_path)
        assert error.value.remedy == "give the top folder of a checkout of sam3"

    def test_the_package_instead_of_the_folder_above(self, tree: Path) -> None:
        with pytest.raises(UpstreamError, match="holds no folder sam3/") as error:
            locate(tree / "sam3")
        assert error.value.remedy == f"give the folder above it: {tree}"


class TestCheckoutOfTheUsers:
    def test_another_commit_is_allowed_and_said(self, tree: Path, fresh_cache: Path) -> None:
        (tree / DECODER).write_text("changed = True\n")
        commit = commit_all(tree)
        found = locate(tree)
        assert (found.commit, found.pinned, found.origin) == (commit, False, Origin.USER)
        assert commit in found.describe()
        assert f"NOT the pinned {pin.SHORT}" in found.describe()
        found.check(DECODER, (tree / DECODER).read_bytes())
        found.check("sam3/new.py", b"")
        proof = verify(found)
        proof.require()
        assert proof.changed == (DECODER,)

    def test_the_pinned_commit_must_be_as_pinned(self, tree: Path, fresh_cache: Path) -> None:
        commit_all(tree)
        # The pinned commit's objects are not to be had here; its name in HEAD is all that git needs to say it.
        (tree / ".git" / "HEAD").write_text(pin.COMMIT + "\n")
        assert git(tree, "rev-parse", "HEAD") == pin.COMMIT
        found = locate(tree)
        assert (found.commit, found.pinned) == (pin.COMMIT, True)
        assert "NOT" not in found.describe()
        verify(found).require()
        (tree / DECODER).write_bytes((tree / DECODER).read_bytes() + b"#")
        with pytest.raises(UpstreamError, match=f"changed: {DECODER}") as error:
            verify(found).require()
        assert "commit the changes" in error.value.remedy

    def test_what_is_no_checkout_must_be_as_pinned(self, tree: Path, fresh_cache: Path) -> None:
        found = locate(tree)
        assert (found.commit, found.pinned) == ("unknown", True)
        verify(found).require()
        (tree / DECODER).unlink()
        with pytest.raises(UpstreamError, match=f"missing: {DECODER}") as error:
            verify(found).require()
        assert pin.COMMIT in error.value.remedy

    def test_a_copy_inside_some_other_checkout_is_no_checkout(self, tree: Path) -> None:
        commit_all(tree.parent)
        assert locate(tree).commit == "unknown"
        assert locate(tree).pinned


class TestCheckOfOneModule:
    @pytest.fixture
    def pinned(self, tree: Path) -> Upstream:
        return locate(tree)

    def test_right(self, pinned: Upstream) -> None:
        data = (pinned.root / DECODER).read_bytes()
        pinned.check(DECODER, data)
        pinned.check(DECODER, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    def test_one_character(self, pinned: Upstream) -> None:
        data = (pinned.root / DECODER).read_bytes()
        with pytest.raises(UpstreamError, match=f"{DECODER} .* was changed"):
            pinned.check(DECODER, data.replace(b"a", b"b", 1))

    def test_another_files_content(self, pinned: Upstream) -> None:
        with pytest.raises(UpstreamError, match=f"{DECODER} .* was changed"):
            pinned.check(DECODER, (pinned.root / "sam3/model/encoder.py").read_bytes())

    def test_not_in_the_manifest(self, pinned: Upstream) -> None:
        with pytest.raises(UpstreamError, match=r"sam3/new.py .* is not a file of sam3 as pinned"):
            pinned.check("sam3/new.py", b"")


def test_the_users_cache_is_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import platformdirs

    monkeypatch.delenv("SAM3PORT_CACHE", raising=False)
    assert places.cache_root() == Path(platformdirs.user_cache_dir("sam3port", appauthor=False))
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path))
    assert places.cache_root() == tmp_path


def test_locating_starts_no_program_and_imports_nothing_heavy(project: Project, upstream_root: Path) -> None:
    """Every start pays for it."""
    copy_pinned(upstream_root, project.submodule)
    git(project.folder, "init", "--quiet")
    commit_all(project.submodule)
    code = """
        import sys, time
        started = time.perf_counter()
        programs = []
        sys.addaudithook(lambda event, _: programs.append(event) if event in ("subprocess.Popen", "os.exec") else 0)
        from sam3port.upstream.source import locate
        found = locate()
        print(f"locate, with its imports: {(time.perf_counter() - started) * 1e3:.1f} ms")
        assert found.origin == "submodule" and len(found.commit) == 40, found
        assert programs == [], programs
        heavy = {"git", "torch", "tvm", "numpy", "rich", "click", "filelock", "subprocess", "psutil"} & set(sys.modules)
        assert not heavy, heavy
    """
    result = project.run("-c", "\n".join(line[8:] for line in code.splitlines()))
    assert result.returncode == 0, result.stderr
    sys.stdout.write(result.stdout)


@pytest.mark.usefixtures("no_checkout")
def test_ensure_takes_what_is_there(upstream_root: Path) -> None:
    copy_pinned(upstream_root, places.cached_copy())
    said: list[str] = []
    assert ensure(report=said.append).origin is Origin.CACHE
    assert said == []
