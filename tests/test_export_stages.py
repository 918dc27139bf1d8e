"""torch.export works on every stage of the model, and the exported programs compute what the modules compute."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from sam3port.upstream.source import Upstream
from tests.conftest import run_python

SMALL = (Path(__file__).parent / "small_stages.py").read_text(encoding="utf-8")

CHECK = SMALL + dedent(
    """
    def leaves(out):
        return [t for t in torch.utils._pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]

    @torch.no_grad()
    def check(module, *inputs):
        program = torch.export.export(module.eval(), inputs).module()
        expected, actual = leaves(module(*inputs)), leaves(program(*inputs))
        assert expected
        for one, other in zip(expected, actual, strict=True):
            assert one.shape == other.shape and one.dtype == other.dtype
            torch.testing.assert_close(other, one)
        print("checked")
    """
)

STAGES = {
    "vision": """
        for sam2 in (False, True):
            check(seeded(neck(sam2)), numbers(1, 3, RESOLUTION, RESOLUTION))
        """,
    "text": """
        class Text(nn.Module):
            def __init__(self):
                super().__init__()
                self.text = seeded(text_encoder())

            def forward(self, tokens):  # VETextEncoder.forward, after its tokeniser
                features = self.text.encoder(tokens)[1].transpose(0, 1)
                embeddings = self.text.encoder.token_embedding(tokens)
                return tokens == 0, self.text.resizer(features), embeddings.transpose(0, 1)

        tokens = torch.randint(1, 100, (3, 8), generator=torch.Generator().manual_seed(0))
        tokens[1, 3:] = 0
        check(Text(), tokens)
        # The wrapper is upstream's forward.
        text = Text()
        text.text.tokenizer = lambda _texts, context_length: tokens
        for one, other in zip(text(tokens), text.text(["a"] * 3), strict=True):
            assert torch.equal(one, other)
        """,
    "geometry": """
        encoder = Geometry(seeded(geometry_encoder()))
        image = sequence()[:2]
        for count in ((3, 0), (0, 2), (3, 2), (0, 0), (1, 1)):
            check(encoder, *image, *prompts(*count))
        check(encoder, *image, *prompts(4, 3, padded=(2, 1)))
        """,
    "geometry with masks": """
        encoder = Geometry(seeded(geometry_encoder(masks=True)))
        image = sequence()[:2]
        masks = (numbers(1, 2, 1, 50, 60) > 0).float()
        for count in ((3, 2), (0, 0)):
            check(encoder, *image, *prompts(*count), masks, torch.zeros(2, 1, dtype=torch.bool),
                  torch.ones(1, 2, dtype=torch.long))
        """,
    "fusion": """
        features, positions, prompt, mask = sequence()
        check(Fusion(seeded(fusion_encoder()), [(GRID, GRID)]), features, positions, prompt, mask)
        maps = [x.reshape(GRID, GRID, 2, WIDTH).permute(2, 3, 0, 1).contiguous() for x in (features, positions)]
        check(Fusion(seeded(fusion_encoder()), None), *maps, prompt, mask)
        """,
    "decoder": """
        check(Decoding(seeded(decoder()), ((GRID, GRID),)), *sequence())
        """,
    "segmentation": """
        class Segmentation(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = seeded(segmentation_head())

            def forward(self, fine, middle, coarse, queries, memory, prompt, mask):
                out = self.head(
                    backbone_feats=[fine, middle, coarse], obj_queries=queries, encoder_hidden_states=memory,
                    image_ids=torch.zeros(memory.shape[1], dtype=torch.long), prompt=prompt, prompt_mask=mask,
                )
                return out["pred_masks"], out["semantic_seg"]

        pyramid = [numbers(1, WIDTH, GRID * scale, GRID * scale, seed=scale) for scale in (4, 2, 1)]
        for batch in (1, 2):
            memory, _, prompt, mask = sequence(batch)
            check(Segmentation(), *pyramid, numbers(3, batch, 10, WIDTH), memory, prompt, mask)
        """,
    "scoring": """
        _, _, prompt, mask = sequence()
        check(seeded(scoring()), numbers(3, 2, 10, WIDTH), prompt, mask)
        """,
    "prompt encoder": """
        class Prompts(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = seeded(prompt_encoder())

            def forward(self, points, labels, boxes, masks):
                given = None if points is None else (points, labels)
                return *self.encoder(points=given, boxes=boxes, masks=masks), self.encoder.get_dense_pe()

        points, labels = numbers(2, 3, 2).abs() * 50, torch.tensor([[1, 0, -1], [2, 3, 1]], dtype=torch.int32)
        boxes, masks = numbers(2, 4).abs() * 50, numbers(2, 1, 4 * GRID, 4 * GRID)
        for given in ((points, labels, None, None), (points, labels, boxes, None), (points, labels, None, masks),
                      (points, labels, boxes, masks), (None, None, boxes, None), (None, None, None, masks),
                      (None, None, None, None)):
            check(Prompts(), *given)
        """,
    "mask decoder": """
        class Masks(nn.Module):
            def __init__(self, several, repeat):
                super().__init__()
                self.decoder, self.several, self.repeat = seeded(mask_decoder()), several, repeat

            def forward(self, image, positions, sparse, dense, fine, middle):
                return self.decoder(
                    image_embeddings=image, image_pe=positions, sparse_prompt_embeddings=sparse,
                    dense_prompt_embeddings=dense, multimask_output=self.several, repeat_image=self.repeat,
                    high_res_features=[fine, middle],
                )

        image, positions = numbers(1, WIDTH, GRID, GRID), numbers(1, WIDTH, GRID, GRID, seed=2)
        fine, middle = numbers(1, WIDTH // 8, 4 * GRID, 4 * GRID), numbers(1, WIDTH // 4, 2 * GRID, 2 * GRID)
        for several in (True, False):
            for batch in (1, 2):
                check(Masks(several, batch > 1), image, positions, numbers(batch, 4, WIDTH),
                      numbers(batch, WIDTH, GRID, GRID, seed=3), fine, middle)
        """,
}


# One interpreter for all: to load upstream takes longer than most of the stages.
ALL = dedent(
    """
    import contextlib, io, json, traceback
    for stage, code in STAGES:
        try:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                exec(compile(code, stage, "exec"), dict(globals()))
        except Exception:
            found = traceback.format_exc()
        else:
            found = "exported" if "checked" in said.getvalue() else "nothing was checked"
        print(json.dumps([stage, found]), flush=True)
    """
)


@pytest.fixture(scope="module")
def results(upstream_source: Upstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each stage, and under "stderr" what the interpreter said."""
    assert upstream_source.pinned
    stages = [(stage, dedent(code)) for stage, code in STAGES.items()]
    script = tmp_path_factory.mktemp("stages") / "script.py"
    run = run_python(f"{CHECK}\nSTAGES = {stages!r}\n{ALL}", script, timeout=900)
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("[")]
    return {**dict(lines), "stderr": run.stderr}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_exports(stage: str, results: dict[str, str]) -> None:
    assert results.get(stage, f"it died: {results['stderr']}") == "exported"
