"""What a kernel has to compute, with all sizes known: the thing that a schedule is measured for.

Found by operator and shape (`sam3port.kernels.cpu.patterns`): equal work has equal keys, whichever component it is in.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Protocol

from tvm import tirx

from sam3port.kernels.cpu.attention.attention import attention_func
from sam3port.kernels.cpu.attention.spec import AttentionSpec
from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.epilogue import Epilogue
from sam3port.kernels.cpu.convolutions.convolution import ConvolutionSpec, convolution_func
from sam3port.kernels.cpu.convolutions.transposed_convolution import transposed_convolution_func
from sam3port.kernels.cpu.formats.cpu import Cpu
from sam3port.kernels.cpu.formats.float32 import FLOAT32
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.policy import Kind, Site, arithmetic_for
from sam3port.kernels.cpu.products import gemm
from sam3port.kernels.cpu.products.matmul import matmul_func
from sam3port.kernels.cpu.scheduling import schedules
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule, ProductSchedule, Schedule
from sam3port.kernels.cpu.workloads import spaces


class Workload(Protocol):
    """One kernel's work."""

    @property
    def key(self) -> str:
        """Names it in databases: kind, shape, what follows in the epilogue, what it is computed in."""

    @property
    def key_in_float32(self) -> str:
        """The key of the same work in float32."""

    def default(self, cpu: Cpu) -> Schedule:
        """The schedule that is computed from the shape."""

    def schedules(self, cpu: Cpu) -> list[Schedule]:
        """Every schedule that is worth a measurement, the default first."""

    def problem(self, schedule: Schedule, cpu: Cpu) -> str | None:
        """Why a schedule does not fit the target's registers and caches, None if it does."""

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        """The kernel."""


def _key(kind: str, shape: str, steps: Epilogue, dtype: str) -> str:
    return " ".join([kind, shape, *([",".join(steps)] if steps else []), dtype])


class _Typed:
    """What all workloads have in common."""

    dtype: str
    """What operands are rounded to; sums are float32."""

    @property
    def key(self) -> str:
        raise NotImplementedError

    @property
    def key_in_float32(self) -> str:
        return f"{self.key.removesuffix(self.dtype)}{FLOAT32.precision}"

    @property
    def site(self) -> Site:
        """What the policy of number formats asks about this work."""
        raise NotImplementedError

    def arithmetic(self, cpu: Cpu) -> Arithmetic:
        """What it is computed with on a CPU."""
        return arithmetic_for(self.site, cpu, self.dtype)


class _Product(_Typed):
    """What all products have in common."""

    rows: int
    """Rows of the left operand."""
    columns: int
    """Columns of the right operand."""

    def problem(self, schedule: Schedule, cpu: Cpu) -> str | None:
        if not isinstance(schedule, ProductSchedule):
            return "it is the schedule of an attention"
        if schedule.halvings and not self.halvable(schedule, cpu):
            return "this product cannot be halved"
        return schedule.problem(cpu)

    def halvable(self, schedule: ProductSchedule, cpu: Cpu) -> bool:
        """See `sam3port.kernels.cpu.products.strassen`."""
        return False

    def default(self, cpu: Cpu) -> ProductSchedule:
        raise NotImplementedError

    def schedules(self, cpu: Cpu) -> list[Schedule]:
        space = spaces.products(self.default(cpu), self.rows, self.columns, cpu)
        return [each for each in space if self.problem(each, cpu) is None]


@dataclass(frozen=True)
class LinearWork(_Product):
    """``x[m, k] @ weight[n, k]^T`` and the steps that follow."""

    rows: int
    """Rows of x, m."""
    columns: int
    """Features of the result, n."""
    depth: int
    """Features of x, k."""
    steps: Epilogue = ()
    """What follows on each value, see `codegen.epilogue`."""
    dtype: str = FLOAT32.precision
    """What its operands are rounded to; sums are float32."""

    @property
    def site(self) -> Site:
        return Site(Kind.LINEAR, self.rows)

    @property
    def key(self) -> str:
        return _key("linear", f"{self.rows}x{self.columns}x{self.depth}", self.steps, self.dtype)

    def default(self, cpu: Cpu) -> ProductSchedule:
        return schedules.own_linear_schedule(self.rows, self.columns, self.depth, self.arithmetic(cpu))

    def halvable(self, schedule: ProductSchedule, cpu: Cpu) -> bool:
        return schedules.halvable(self.rows, self.columns, self.depth, schedule, self.arithmetic(cpu))

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        assert isinstance(schedule, ProductSchedule)
        return gemm.linear_func(self.rows, self.columns, self.depth, self.arithmetic(cpu), self.steps, schedule)


@dataclass(frozen=True)
class MatmulWork(_Product):
    """``a[batch, m, k] @ b[batch, k, n]``."""

    batch: int
    """Products that are alike."""
    rows: int
    """Rows of a, m."""
    columns: int
    """Columns of the result, n."""
    depth: int
    """Columns of a, k."""
    transpose_b: bool
    """Whether b is [batch, n, k]."""
    dtype: str = FLOAT32.precision
    """What its operands are rounded to; sums are float32."""

    @property
    def site(self) -> Site:
        return Site(Kind.PRODUCT, self.rows)

    @property
    def key(self) -> str:
        shape = f"{self.batch}x{self.rows}x{self.columns}x{self.depth}"
        return _key("matmul", shape, ("transposed",) if self.transpose_b else (), self.dtype)

    def default(self, cpu: Cpu) -> ProductSchedule:
        return schedules.matmul_schedule(self.rows, self.columns, cpu, transpose_b=self.transpose_b)

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        assert isinstance(schedule, ProductSchedule)
        sizes = (self.batch, self.rows, self.columns, self.depth)
        return matmul_func(*sizes, self.arithmetic(cpu), transpose_b=self.transpose_b, schedule=schedule)


@dataclass(frozen=True)
class ConvolutionWork(_Product):
    """A convolution whose batch is known."""

    spec: ConvolutionSpec
    """The convolution."""
    steps: Epilogue = ()
    """What follows on each value, see `codegen.epilogue`."""
    dtype: str = FLOAT32.precision
    """What its operands are rounded to; sums are float32."""

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.spec.features

    @property
    def columns(self) -> int:  # type: ignore[override]
        return self.spec.pixels

    @property
    def site(self) -> Site:
        return Site(Kind.CONVOLUTION, self.rows)

    @property
    def key(self) -> str:
        spec = self.spec
        shape = f"{spec.batch}x{spec.channels}x{spec.height}x{spec.width} to {spec.features}"
        how = (("kernel", spec.kernel), ("stride", spec.stride), ("padding", spec.padding), ("dilation", spec.dilation))
        how_text = " ".join(f"{name} {'x'.join(map(str, sizes))}" for name, sizes in how)
        return _key("convolution", f"{shape} {how_text}", self.steps, self.dtype)

    def default(self, cpu: Cpu) -> ProductSchedule:
        return schedules.convolution_schedule(self.rows, self.columns, cpu)

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        assert isinstance(schedule, ProductSchedule)
        return convolution_func(self.spec, self.arithmetic(cpu), self.steps, schedule)


@dataclass(frozen=True)
class TransposedConvolutionWork(_Product):
    """A transposed convolution whose stride is its kernel."""

    batch: int
    """Images."""
    channels: int
    """Channels of the input."""
    size: tuple[int, int]
    """Height and width of the input in pixels."""
    features: int
    """Channels of the output."""
    kernel: tuple[int, int]
    """Height and width of the kernel, which are the strides, too."""
    steps: Epilogue = ()
    """What follows on each value, see `codegen.epilogue`."""
    dtype: str = FLOAT32.precision
    """What its operands are rounded to; sums are float32."""

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.features * self.kernel[0] * self.kernel[1]

    @property
    def columns(self) -> int:  # type: ignore[override]
        return self.size[0] * self.size[1]

    @property
    def site(self) -> Site:
        return Site(Kind.CONVOLUTION, self.rows)

    @property
    def key(self) -> str:
        shape = f"{self.batch}x{self.channels}x{self.size[0]}x{self.size[1]} to {self.features}"
        return _key(
            "transposed-convolution", f"{shape} kernel {self.kernel[0]}x{self.kernel[1]}", self.steps, self.dtype
        )

    def default(self, cpu: Cpu) -> ProductSchedule:
        return schedules.convolution_schedule(self.rows, self.columns, cpu)

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        assert isinstance(schedule, ProductSchedule)
        sizes = (self.batch, self.channels, self.size, self.features, self.kernel)
        return transposed_convolution_func(*sizes, self.arithmetic(cpu), self.steps, schedule)


@dataclass(frozen=True)
class AttentionWork(_Typed):
    """An attention whose lengths are known."""

    spec: AttentionSpec
    """The attention."""
    dtype: str = FLOAT32.precision
    """What its operands are rounded to; sums are float32."""

    @property
    def site(self) -> Site:
        return Site(Kind.ATTENTION, self.spec.queries)

    @property
    def key(self) -> str:
        spec = self.spec
        shape = f"{spec.batch}x{spec.heads}x{spec.queries}x{spec.keys}x{spec.features}x{spec.value_features}"
        how = [" ".join(spec.layouts)]
        if any(count > 1 for _, count in spec.parts):
            how += [f"parts {' '.join(f'{index}/{count}' for index, count in spec.parts)}"]
        how += ["rotary"] if spec.rotary else []
        how += [] if spec.bias is None else [f"bias {'x'.join(map(str, spec.bias))}"]
        how += [] if spec.causal_offset is None else [f"causal {spec.causal_offset}"]
        return _key("attention", " ".join([shape, *how]), (), self.dtype)

    def default(self, cpu: Cpu) -> AttentionSchedule:
        return schedules.attention_schedule(self.spec.queries, self.spec.keys, self.spec.value_features, cpu)

    def schedules(self, cpu: Cpu) -> list[Schedule]:
        return list(spaces.attentions(self.default(cpu), self.spec, cpu))

    def problem(self, schedule: Schedule, cpu: Cpu) -> str | None:
        if not isinstance(schedule, AttentionSchedule):
            return "it is the schedule of a product"
        return schedule.problem(cpu, self.spec.features, self.spec.value_features)

    def function(self, cpu: Cpu, schedule: Schedule) -> tirx.PrimFunc:
        assert isinstance(schedule, AttentionSchedule)
        return attention_func(self.spec, self.arithmetic(cpu), schedule)


def attention_work(spec: AttentionSpec, dtype: str) -> AttentionWork | None:
    """None where a length is not known before the program runs."""
    return (
        AttentionWork(spec, dtype) if emit.is_static(spec.batch, spec.queries, spec.keys, *(spec.bias or ())) else None
    )


def described(schedule: Schedule) -> str:
    """In words."""
    if isinstance(schedule, ProductSchedule):
        rows, vectors, unroll, block, chunk, window, halvings = astuple(schedule)
        sizes = f"blocks of {block}, chunks of {chunk}, window {window >> 10} Ki{', halved' * halvings}"
        return f"{rows} x {vectors} vectors by {unroll}, {sizes}"
    rows, vectors, values, unroll, queries, keys = astuple(schedule)
    return f"{rows} x {vectors} and {values} vectors by {unroll}, blocks of {queries} queries and {keys} keys"
