"""How the work of an attention is cut, and where its packed keys and values lie."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sam3port.kernels.cpu.attention.spec import AttentionSpec, at
from sam3port.kernels.cpu.codegen import emit
from sam3port.kernels.cpu.codegen.emit import Buffer, Dim, Expr
from sam3port.kernels.cpu.formats.format import Arithmetic
from sam3port.kernels.cpu.formats.register_tile import RegisterTile
from sam3port.kernels.cpu.scheduling.schedules import AttentionSchedule


@dataclass(frozen=True, slots=True)
class Packed:
    """Keys and values in the order in which they are read."""

    keys: Buffer
    """Panels of keys: groups along features, then the keys of the panel."""
    values: Buffer
    """Panels of value features: groups along keys, then the features of the panel."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A panel's place among packed ones."""

    head: Expr
    """The head, counted over the batch; 0 where a task packs for itself."""
    panel: Expr
    """The panel of keys within those that are kept."""


class Sizes:
    """Of one kernel: its tiles, blocks and tasks."""

    def __init__(self, spec: AttentionSpec, arithmetic: Arithmetic, schedule: AttentionSchedule) -> None:
        self.spec = spec
        self.arithmetic = arithmetic
        self.cpu, self.format = arithmetic.cpu, arithmetic.format
        self.lanes = arithmetic.cpu.lanes
        self.schedule = schedule
        tile = RegisterTile(schedule.rows, schedule.vectors, self.lanes, schedule.unroll, self.format.micro_kernel)
        self.scores = tile
        """Tile of scores: query rows by keys."""
        self.values = replace(tile, vectors=schedule.value_vectors)
        """Tile of results: query rows by value features; several of them side by side when features are many."""
        self.value_panels = emit.ceildiv(spec.value_features, self.values.columns)
        self.padded_values = self.value_panels * self.values.columns
        self.groups = self.format.groups(spec.features)
        """Groups along the features of a query or a key."""
        self.full_groups = self.format.full_groups(spec.features)
        """Those of them that zeros do not fill up."""
        self.panel_groups = self.format.groups(tile.columns)
        """Groups along the keys of a panel, in values and weights."""
        self.panels = emit.ceildiv(spec.keys, self.scores.columns)
        block_panels = max(1, schedule.block_keys // self.scores.columns)
        self.block_panels = min(block_panels, self.panels) if isinstance(self.panels, int) else block_panels
        self.block_keys = self.block_panels * self.scores.columns
        self.blocks = emit.ceildiv(self.panels, self.block_panels)
        self.tasks_outer = spec.batch * spec.heads
        self.strips = self._strips()
        self.query_blocks = emit.ceildiv(spec.queries, self.strips * self.scores.rows)
        self.near = self._is_near()
        """Whether a task packs the block of keys and values that it is about to read, and nobody else does."""
        self.kept_panels = self.block_panels if self.near else self.panels
        """Panels of packed keys that there are at a time, for each head."""

    def _strips(self) -> int:
        """Tiles of query rows in one task: many, unless that leaves cores idle."""
        rows = self.scores.rows
        strips: int = max(1, self.schedule.block_queries // rows)
        if isinstance(self.spec.queries, int):
            total = emit.ceildiv(self.spec.queries, rows)
            wanted = 1
            if isinstance(self.tasks_outer, int):
                wanted = emit.ceildiv(4 * self.cpu.cores, self.tasks_outer)
            blocks = max(emit.ceildiv(total, strips), min(wanted, total))
            strips = emit.ceildiv(total, blocks)
        return strips

    def _is_near(self) -> bool:
        """A single block of queries reads each key once: packed beforehand, all keys would go through memory twice."""
        outer, blocks = self.tasks_outer, self.query_blocks
        return isinstance(outer, int) and isinstance(blocks, int) and blocks == 1 and outer >= self.cpu.cores

    def room(self, heads: Dim) -> Packed:
        """For the packed keys and values of so many heads."""
        dtype, panels = self.format.cached, heads * self.kept_panels
        keys = emit.scratch((panels * self.groups * self.scores.columns,), dtype)
        return Packed(keys, emit.scratch((panels * self.panel_groups * self.padded_values,), dtype))

    def slot(self, outer: Expr, panel: Expr, offset: Expr) -> Slot:
        """Where a panel is packed, which is the one at `offset` in its block of keys."""
        return Slot(0, offset) if self.near else Slot(outer, panel)

    def key_at(self, slot: Slot, group: Expr, key: Expr) -> Expr:
        """``[head, panel, group of features, key]``"""
        return ((slot.head * self.kept_panels + slot.panel) * self.groups + group) * self.scores.columns + key

    def value_at(self, slot: Slot, value_panel: Expr, group: Expr, column: Expr) -> Expr:
        """``[head, value panel, group of keys, column]``"""
        line = (slot.head * self.value_panels + value_panel) * self.kept_panels + slot.panel
        return (line * self.panel_groups + group) * self.values.columns + column

    def operand_at(self, operand: int, batch: Expr, head: Expr, row: Expr, feature: Expr) -> list[Expr]:
        """Where an element of q (0), k (1) or v (2) is."""
        stored = self.spec.parts[operand][0] * self.spec.heads + head
        return at(self.spec.layouts[operand], batch, stored, row, feature)

    def result_at(self, row: Expr, feature: Expr) -> Expr:
        """``[row, feature]``, features padded to whole panels of values."""
        return row * self.padded_values + feature
