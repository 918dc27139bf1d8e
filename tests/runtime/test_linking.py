"""Object code becomes a library where it runs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sam3port.errors import UsageError
from sam3port.runtime.linking import linked

SHA256 = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``twice``, compiled by TVM to object code."""
    import tvm
    from tvm import relax

    builder = relax.BlockBuilder()
    given = relax.Var("given", relax.TensorType((4,), "float32"))
    with builder.function("twice", [given]):
        with builder.dataflow():
            output = builder.emit_output(relax.op.add(given, given))
        builder.emit_func_output(output)
    with tvm.target.Target("llvm"):
        module = relax.get_pipeline("zero")(builder.get())
    file = tmp_path_factory.mktemp("objects") / "model.tar"
    tvm.compile(module, target="llvm").export_library(str(file))
    return file


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SAM3PORT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_object_code_is_linked_once_and_runs(objects: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tvm
    from tvm import relax

    library = linked(objects, SHA256)
    assert [file.name for file in (cache / "artifacts").iterdir()] == [f"{SHA256}.so"]
    assert [file.name for file in objects.parent.iterdir()] == ["model.tar"], "nothing is written beside it"
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
    given = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(machine["twice"](tvm.runtime.tensor(given)).numpy(), 2 * given)
    monkeypatch.setenv("PATH", "")
    assert linked(objects, SHA256) == library, "the second time no compiler is needed"


def test_a_library_is_itself(tmp_path: Path, cache: Path) -> None:
    assert linked(tmp_path / "model.so", SHA256) == tmp_path / "model.so"
    assert not cache.exists()


def test_without_a_compiler_it_says_so(objects: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not cache.exists()
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no C compiler to link it with"):
        linked(objects, SHA256)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_what_is_no_object_code_is_said(tmp_path: Path, cache: Path, content: bytes) -> None:
    (tmp_path / "model.tar").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be linked"):
        linked(tmp_path / "model.tar", SHA256)
    assert list((cache / "artifacts").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said(objects: Path, cache: Path) -> None:
    cache.write_text("not a folder")
    with pytest.raises(UsageError, match=r"cannot be written: .*directory"):
        linked(objects, SHA256)


def archive(file: Path, *members: tuple[str, bytes, str]) -> Path:
    """A tar of members: name, type, where a link leads."""
    with tarfile.open(file, "w:gz") as made:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
            made.addfile(info, io.BytesIO(b"code"))
    return file


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../escaped.o", tarfile.REGTYPE, ""),
        ("/tmp/escaped.o", tarfile.REGTYPE, ""),
        ("folder/lib.o", tarfile.REGTYPE, ""),
        ("..", tarfile.DIRTYPE, ""),
        ("lib.o", tarfile.DIRTYPE, ""),
        ("lib.o", tarfile.SYMTYPE, "/etc/passwd"),
        ("lib.o", tarfile.LNKTYPE, "devc.o"),
        ("lib.o", tarfile.FIFOTYPE, ""),
        ("lib.o", tarfile.CHRTYPE, ""),
        ("-Wl,x.o", tarfile.REGTYPE, ""),
        ("a\\b.o", tarfile.REGTYPE, ""),
        ("lib.py", tarfile.REGTYPE, ""),
    ],
    ids=lambda value: repr(value),
)
def test_only_object_files_of_plain_names_are_unpacked(
    tmp_path: Path, cache: Path, name: str, kind: bytes, link: str
) -> None:
    """Checked by ourselves: Python has filters for that since 3.11.4, and Debian 12 has 3.11.2."""
    made = archive(tmp_path / "model.tar", ("devc.o", tarfile.REGTYPE, ""), (name, kind, link))
    with pytest.raises(UsageError, match="is no object file"):
        linked(made, SHA256)
    assert list((cache / "artifacts").iterdir()) == []
    assert not list(tmp_path.rglob("*escaped*"))


def test_two_members_of_one_name_are_refused(tmp_path: Path, cache: Path) -> None:
    made = archive(tmp_path / "model.tar", ("devc.o", tarfile.REGTYPE, ""), ("devc.o", tarfile.REGTYPE, ""))
    with pytest.raises(UsageError, match=r"devc\.o.* there twice"):
        linked(made, SHA256)
    assert list((cache / "artifacts").iterdir()) == []
