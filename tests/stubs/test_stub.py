"""The stand-in itself: importable, decoratable, never silently callable, and no trap for those who probe objects."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import types
import unittest.mock
from collections.abc import Callable
from typing import Any

import pytest

from sam3port.errors import StubError
from sam3port.stubs import Stub
from sam3port.stubs.stub import AbsentAttribute, AbsentFunction

STUB = Stub(
    "triton", "use a CUDA machine", decorators=frozenset({"jit", "autotune"}), constructors=frozenset({"Config"})
)


def triton() -> Any:
    return AbsentAttribute(STUB, "triton")


def body(x: int) -> int:
    """What a kernel would do."""
    return x


def refused(call: Callable[[], object], name: str) -> None:
    """The error names the function and the module, and ends with the reason."""
    with pytest.raises(StubError) as caught:
        call()
    assert caught.value.problem == f"{name} was called, but the module triton is not installed here"
    assert str(caught.value).endswith("use a CUDA machine")


def test_attributes_go_on() -> None:
    assert repr(triton().language.math.exp) == "<triton.language.math.exp: triton is not installed>"
    assert isinstance(triton()._C.libtriton, AbsentAttribute)


@pytest.mark.parametrize("path", ["cdiv", "language.load", "runtime.driver.active.get_current_device"])
def test_calling_an_attribute(path: str) -> None:
    found = triton()
    for name in path.split("."):
        found = getattr(found, name)
    refused(lambda: found(1, 2), f"triton.{path}")


def test_calling_the_module() -> None:
    refused(lambda: triton()(), "triton")


@pytest.mark.parametrize(
    "decorate",
    [
        lambda t: t.jit(body),
        lambda t: t.jit()(body),
        lambda t: t.jit(debug=True)(body),
        lambda t: t.jit(body, debug=True),
        lambda t: t.autotune(configs=[t.Config({}, num_warps=2)], key=["n"])(body),
        lambda t: t.autotune([t.Config({})], ["n"])(t.jit(body)),
    ],
)
def test_a_decorated_kernel(decorate: Callable[[Any], Any]) -> None:
    kernel = decorate(triton())
    assert isinstance(kernel, AbsentFunction)
    refused(lambda: kernel(1), "body")
    refused(lambda: kernel[(1,)](1), "body")
    refused(lambda: kernel[1], "body")
    assert kernel.__name__ == "body"
    assert repr(kernel) == "<body: triton is not installed>"


@pytest.mark.parametrize("name", ["run", "warmup", "best_config"])
def test_what_a_real_kernel_has_besides(name: str) -> None:
    refused(lambda: getattr(triton().jit(body), name)(1), f"body.{name}")


def test_a_decorator_is_no_way_around() -> None:
    """`triton.jit()(tensor)` would otherwise look like a call that succeeded."""
    refused(lambda: triton().jit()(1), "triton.jit")
    refused(lambda: triton().autotune(configs=[])(1, 2), "triton.autotune")


def test_only_what_the_stub_names_is_a_decorator() -> None:
    refused(lambda: triton().heuristics({})(body), "triton.heuristics")
    refused(lambda: triton().language.jit(body), "triton.language.jit")


def test_a_constructed_object_is_inert() -> None:
    config = triton().Config({"BLOCK": 1}, num_warps=2)
    assert repr(config.kwargs) == "<triton.Config.kwargs: triton is not installed>"
    refused(lambda: config.all_kwargs(), "triton.Config.all_kwargs")


def test_a_subclass_is_refused_as_a_call() -> None:
    with pytest.raises(StubError, match=r"triton\.Config was called"):
        types.new_class("Mine", types.resolve_bases((triton().Config,)))


BOTH = pytest.mark.parametrize(
    "stub", [triton(), triton().language, triton().jit(body)], ids=["module", "attribute", "kernel"]
)


@BOTH
def test_equality_hash_and_truth(stub: Any) -> None:
    assert stub == stub
    assert stub != copy.copy(stub)
    assert {stub: 1}[stub] == 1
    assert bool(stub)
    assert stub is not None


@BOTH
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda stub: pickle.loads(pickle.dumps(stub))])
def test_copies(stub: Any, copied: Callable[[Any], Any]) -> None:
    assert repr(copied(stub)) == repr(stub)
    with pytest.raises(StubError):
        copied(stub)()


@BOTH
@pytest.mark.parametrize(
    "probe",
    [
        list,
        tuple,
        len,
        lambda s: next(iter(s)),
        next,
        reversed,
        sum,
        sorted,
        int,
        float,
        lambda s: 1 in s,
        lambda s: s[0],
        lambda s: [*s],
    ],
)
def test_a_container_it_is_not(stub: Any, probe: Callable[[Any], object]) -> None:
    """No endless loop: an object with __getitem__ is iterable for Python, until it raises IndexError."""
    with pytest.raises((TypeError, StubError)):
        probe(stub)


@BOTH
@pytest.mark.parametrize(
    "name",
    ["__wrapped__", "__iter__", "__array__", "__len__", "__torch_function__", "__path__", "__file__", "__fspath__"],
)
def test_no_dunder_is_made_up(stub: Any, name: str) -> None:
    assert not hasattr(stub, name)


@BOTH
def test_inspect(stub: Any) -> None:
    assert inspect.unwrap(stub) is stub
    assert not inspect.ismodule(stub)
    assert not inspect.isclass(stub)
    assert not inspect.isfunction(stub)
    assert not inspect.iscoroutinefunction(stub)
    assert inspect.signature(stub)
    assert callable(stub)
    with pytest.raises(TypeError):
        inspect.getsource(stub)
    inspect.getmembers(stub)


@BOTH
def test_isinstance(stub: Any) -> None:
    assert not isinstance(stub, types.ModuleType | type)
    with pytest.raises(TypeError):
        isinstance(1, stub)


@BOTH
def test_tools_that_walk_through_modules(stub: Any) -> None:
    module = types.ModuleType("upstream")
    module.stub = stub  # type: ignore[attr-defined]
    assert doctest.DocTestFinder().find(module) == []
    with unittest.mock.patch.object(module, "stub"):
        pass
    assert module.stub is stub  # type: ignore[attr-defined]
    unittest.mock.create_autospec(stub)
    dir(stub)
    str(stub)


@BOTH
def test_half_made(stub: Any) -> None:
    """copy and pickle make an object without calling __init__: looking for what it lacks must not recurse."""
    empty = object.__new__(type(stub))
    for name in ("_stub", "_path", "__name__"):
        with pytest.raises(AttributeError):
            getattr(empty, name)
