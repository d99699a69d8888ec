"""Says under which settings the search benchmark runs, from the settings themselves."""

from __future__ import annotations

from tools.search_benchmark import FINAL, FINAL_STEPS, LADDER, SETTINGS, VALIDATION_IMAGES
from tools.search_benchmark_suites import SUITES


def setup() -> str:
    """List the settings."""
    rungs = ", ".join("after recalibration alone" if steps == 0 else f"after {steps} steps" for steps in LADDER.steps)
    lines = [
        f"accuracy on the same {VALIDATION_IMAGES} validation images for all (the choice of the images alone gives an "
        f"accuracy of 0.85 a standard error of {(0.85 * 0.15 / VALIDATION_IMAGES) ** 0.5:.3f}), taken {rungs} of "
        f"distillation; the best {LADDER.share:.0%} of those that met the limit go on",
        f"recalibration on {SETTINGS.recalibration_images} images, {SETTINGS.measure_seconds:g} s for each latency",
        f"final distillation: {FINAL_STEPS['resnet20']} steps of {FINAL.batch_size} images for ResNet-20, "
        f"{FINAL_STEPS['resnet56']} for ResNet-56; then validation and test accuracy",
    ]
    for suite in ("resnet20", "resnet56"):
        first, seeds = SUITES[suite][0], len({job.seed for job in SUITES[suite]})
        lines.append(
            f"{suite.replace('resnet', 'ResNet-')}: `{' '.join(first.constraints)}`, {first.evaluations} evaluations, "
            f"{seeds} seeds"
        )
    return "\n".join(f"* {line}" for line in lines)
