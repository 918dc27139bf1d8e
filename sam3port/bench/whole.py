"""The contest about the whole program: a photograph encoded, and prompts answered, by the artifact and by upstream."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from sam3port.bench.components import Setup
from sam3port.bench.contest import Works, compete
from sam3port.bench.contestants import WHOLE, Contestant
from sam3port.bench.figures import Absent, Results, largest_difference
from sam3port.bench.preparation import prepared
from sam3port.verify.child import Outputs

if TYPE_CHECKING:
    from sam3port.verify.end_to_end.photographs import Photograph

MODULES: Final = {Contestant.TVM: "sam3port.bench.run_artifact", Contestant.TORCH: "sam3port.bench.run_upstream"}
CHOOSE: Final = "sam3port.bench.thresholds"
IMAGE: Final = "image"
PROMPT: Final = "prompt"
TITLES: Final = {IMAGE: "end-to-end: image", PROMPT: "end-to-end: next prompt"}
TEXTS: Final = (
    *("a cup", "a red spoon", "a saucer", "the table", "a dog", "yellow cars", "a face", "the floor", "a hand"),
    *("a window", "two shoes", "some grass", "a bottle", "the sky", "a green leaf", "a book", "one wheel", "a sign"),
)
"""Another one for every prompt: an answer that was kept from before is no measurement."""


def bench_whole(setup: Setup, artifact: Path, photograph: Photograph, results: Results) -> None:
    """Encoding the photograph, and answering a new text about it.

    Args:
        setup: who competes, and how.
        artifact: the port's.
        photograph: what is looked at.
        results: gets two rows for each contestant.

    Raises:
        PreparationFailed: the artifact does not answer.
    """
    absent = "it has no program around the model: no processor, no prompts"
    for contestant in setup.contestants:
        if contestant not in WHOLE:
            setup.say(f"{contestant}: {absent}")
            results.absent += [Absent(title, contestant, absent) for title in TITLES.values()]
    request = {
        "build": setup.build.as_json(),
        "artifact": str(artifact.absolute()),
        "photograph": str(photograph.file.absolute()),
        "texts": TEXTS,
        "thresholds": _thresholds(setup, artifact, photograph),
    }
    folder = setup.folder / "processes"
    theirs = folder / Contestant.TORCH / f"{PROMPT}.npz"

    def error(contestant: Contestant, work: str, outputs: Outputs) -> float | None:
        if work != PROMPT or contestant is not Contestant.TVM or not theirs.exists():
            return None
        with np.load(theirs) as answers:
            return difference_of_scores(outputs["scores"], answers["scores"])

    compete(
        Works(TITLES),
        {each: {**request, "contestant": str(each)} for each in setup.contestants if each in WHOLE},
        folder,
        modules=MODULES,
        build=setup.build,
        threads=setup.threads,
        rounds=setup.rounds,
        error=error,
        results=results,
        say=setup.say,
    )


def difference_of_scores(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> float:
    """Largest difference of the best scores: in bfloat16 the two may keep another number of objects.

    Infinite where one keeps none.
    """
    both = min(len(ours), len(theirs))
    ours, theirs = (np.sort(scores)[::-1][:both] for scores in (ours, theirs))
    return largest_difference([ours], [theirs]) if both else float("inf")


def _thresholds(setup: Setup, artifact: Path, photograph: Photograph) -> list[float]:
    """For each text one that keeps a few objects, as a trained model would: seeded weights know no 0.5."""
    file = setup.folder / "thresholds.json"
    words = (str(artifact.absolute()), str(photograph.file.absolute()), str(file))
    chosen: list[float] = prepared(CHOOSE, *words, file=file, failed=f"{artifact} does not answer")
    return chosen
