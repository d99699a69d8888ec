"""A run without data: training images are made up from what the network's batch norms remember of the real ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deploycompress.graph import Graph
from deploycompress.network.module import to_torch
from deploycompress.pipeline.task import image_shape
from deploycompress.report.progress import Progress
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.generator import make_generator
from deploycompress.train.pace import make_time_limit
from deploycompress.train.synthesis import synthesise
from deploycompress.train.synthesis_settings import Synthesis, SynthesisProgress, SynthesisSettings

Document = dict[str, Any]  # Any: JSON

SOURCE = "synthesised from batch norm statistics"
IMAGES = 2048
FEW = 500
SHARE = 1 / 6
"""Of the time that is left, at most, goes into images."""
VALIDATION_SHARE = 0.2
"""Of the images validate: there are few, and a tenth of them would hardly rank students."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """Images that no camera took.

    Attributes:
        data: the images without labels, in the network's input space.
        synthesis: how they came to be.
    """

    data: Dataset
    synthesis: Synthesis

    def describe(self) -> Document:
        """Give what result.json says of them."""
        figures = asdict(self.synthesis)
        del figures["images"]
        return {"source": SOURCE, "images": len(self.data), **figures}


def make_up_data(
    teacher: Graph,
    *,
    count: int | None,
    settings: SynthesisSettings,
    seed: int,
    left_s: float | None,
    progress: Progress,
) -> MadeUp:
    """Synthesise images in the network's input space, and say loudly that they are not real.

    Args:
        teacher: the network whose statistics they follow.
        count: how many; none for the usual number, or as many as a share of the time allows.
        settings: how.
        seed: decides them.
        left_s: seconds for the whole run; none for no limit.
        progress: who is told.

    Raises:
        DataError: the network remembers nothing of its data.
        ModelError: the network does not read one image, or its statistics are no numbers.
    """
    progress.warning(
        "No data were given: images are synthesised from the network's batch norm statistics, and no real image is "
        "seen. Students are held against the teacher on such images, which tells no accuracy; real images without "
        "labels (--data) are better, and real test images (--test-data) show what has become of the network."
    )
    limit = make_time_limit(None if left_s is None or count is not None else SHARE * left_s, None)
    with progress.stage("synthesise images", total=count or IMAGES) as task:
        known = [0]

        def show(found: SynthesisProgress) -> None:
            task.advance(found.images - known[-1])
            known.append(found.images)
            task.note(f"{found.images} images, {found.mismatch:.3g} from the statistics")

        synthesis = synthesise(
            to_torch(teacher),
            count=count or IMAGES,
            input_shape=image_shape(teacher),
            generator=make_generator(seed),
            settings=settings,
            on_progress=show,
            deadline=limit.left,
        )
    if len(synthesis.images) < FEW:
        progress.warning(
            f"Only {len(synthesis.images)} images were synthesised in the time there is; they hardly rank students. "
            "Give more time (--budget)."
        )
    return MadeUp(data=make_dataset(synthesis.images, None, source=SOURCE), synthesis=synthesis)
