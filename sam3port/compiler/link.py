"""Link: the optimised modules of all components as one, with the functions that a program calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sam3port.compiler.entries import ENTRIES, Entry, Join, interface
from sam3port.compiler.optimise import alone

if TYPE_CHECKING:
    from sam3port.artifact.interface import TensorSpec
    from sam3port.components.component import Component
    from sam3port.model.preset import Preset
    from sam3port.targets.target import BuildTarget


def link(
    modules: Mapping[str, Any],
    components: Mapping[str, Component],
    preset: Preset,
    target: BuildTarget,
    entries: Sequence[Entry] = ENTRIES,
) -> Any:
    """One Relax module with a function for each of ``entries``.

    The components' functions are inlined, so that the memory of a whole entry is planned at once. Kernels that are
    equal are kept once, whichever components they come from.

    Args:
        modules: by component, from `sam3port.compiler.optimise.optimise`, or what Stage KERNELS made of it.
        components: what they are made of: all that ``entries`` name.
        preset: the sizes they were made for.
        target: what they were optimised for.
    """
    linker = _Linker(components, preset, target)
    for entry in entries:
        for name in entry.components:
            linker.add_component(name, modules[name])
        linker.add_entry(entry)
    return linker.finish([entry.name for entry in entries])


class _Linker:
    def __init__(self, components: Mapping[str, Component], preset: Preset, target: BuildTarget) -> None:
        from tvm import relax

        self._components, self._preset, self._target = components, preset, target
        self._builder = relax.BlockBuilder()
        self._functions: dict[str, Any] = {}
        """Global variable and function of what is merged, by component or join."""

    def add_component(self, name: str, module: Any) -> None:
        """Takes over ``main`` of ``module`` and what it calls, unless it is there."""
        if name not in self._functions:
            self._functions[name] = self._merge(name, alone(module, "main"))

    def add_entry(self, entry: Entry) -> None:
        """Makes its function. All its components have to be there."""
        from tvm import relax

        tensors = interface(entry, self._components, self._preset)
        inputs = {spec.name: _variable(spec.name, spec) for spec in tensors.inputs}
        weights = {name: self._weights(name) for name in entry.components}
        there: dict[str, Any] = dict(inputs)
        specs = {spec.name: spec for spec in tensors.inputs}
        builder = self._builder
        with builder.function(entry.name, [*inputs.values(), *(w for many in weights.values() for w in many)]):
            with builder.dataflow():
                for step in entry.steps:
                    if isinstance(step, Join):
                        self._add_join(step, [specs[part] for part in step.parts])
                        given, name = [there[part] for part in step.parts], step.name
                        made = [step.joined([specs[part] for part in step.parts])]
                    else:
                        component, name = self._components[step], step
                        given = [there[spec.name] for spec in component.inputs(self._preset)] + weights[step]
                        made = list(component.outputs(self._preset))
                    results = builder.emit(relax.Call(self._functions[name][0], given))
                    there |= {spec.name: relax.TupleGetItem(results, index) for index, spec in enumerate(made)}
                    specs |= {spec.name: spec for spec in made}
                output = builder.emit_output(relax.Tuple([there[spec.name] for spec in tensors.outputs]))
            builder.emit_func_output(output)

    def finish(self, entries: list[str]) -> Any:
        """The module, with nothing in it but the entries and kernels."""
        from tvm import relax

        module = relax.transform.InlinePrivateFunctions()(self._builder.get())
        module = relax.transform.CanonicalizeBindings()(module)  # tuples that are taken apart at once
        return relax.transform.DeadCodeElimination(entries)(module)

    def _merge(self, name: str, module: Any) -> Any:
        """What it calls under the same names: equal kernels have equal ones, and are shared."""
        from tvm import relax

        from sam3port.kernels.common.rewriting import renamed

        names = {}
        for variable, function in sorted(module.functions_items(), key=lambda item: str(item[0].name_hint)):
            if variable.name_hint != "main":
                private = function.without_attr("global_symbol")
                names[variable] = self._builder.add_func(private, str(variable.name_hint))
        main = renamed(module["main"], names)
        main = relax.Function(main.params, main.body, main.ret_ty, main.is_pure)
        return self._builder.add_func(main, name), main

    def _add_join(self, join: Join, parts: list[TensorSpec]) -> None:
        """A concatenation, by the target's own pipeline."""
        from tvm import relax

        from sam3port.kernels.common.naming import named_by_content

        if join.name in self._functions:
            return
        builder = relax.BlockBuilder()
        variables = [_variable(part.name, part) for part in parts]
        with builder.function("main", variables, {"num_input": len(variables)}):
            with builder.dataflow():
                whole = builder.emit(relax.op.concat(variables, join.axis))
                output = builder.emit_output(relax.Tuple([whole]))
            builder.emit_func_output(output)
        optimised = named_by_content(self._target.optimise(builder.get()))
        self._functions[join.name] = self._merge(f"join_{join.name}", alone(optimised, "main"))

    def _weights(self, name: str) -> list[Any]:
        """Variables for the packed weights of a component."""
        from tvm import relax

        params = self._functions[name][1].params[len(self._components[name].inputs(self._preset)) :]
        return [relax.Var(f"{name}_{index}", variable.ty) for index, variable in enumerate(params)]


def _variable(name: str, spec: TensorSpec) -> Any:
    from tvm import relax

    return relax.Var(name, relax.TensorType(spec.shape, spec.dtype))
