"""What was forgotten and what was kept, in numbers: ID, ID_others, retention, LPIPS, quality, FID, KID, intervals."""

from guide_lib.metrics.columns import METRICS, Metric
from guide_lib.metrics.distribution import frechet_distance, generated_features, kernel_distance, photo_features
from guide_lib.metrics.forgetting import (
    YAWS,
    acceptance_threshold,
    identity_collapse,
    impostor_cosines,
    measure_forgetting,
    other_pictures,
    rejection_threshold,
    yaw_views,
)
from guide_lib.metrics.identity import (
    Reconstruction,
    Report,
    accept_rates,
    evaluate,
    identity_similarity,
    perceptual_distance,
    reconstruction,
    render,
)
from guide_lib.metrics.intervals import Interval, bootstrap_mean, mean_interval, share_difference, share_interval
from guide_lib.metrics.quality import strangeness, weave
from guide_lib.metrics.thresholds import ACCEPTANCE, STRICT, THRESHOLDS, Thresholds, thresholds_of

__all__ = [
    "ACCEPTANCE",
    "Interval",
    "METRICS",
    "Metric",
    "Reconstruction",
    "Report",
    "STRICT",
    "THRESHOLDS",
    "Thresholds",
    "YAWS",
    "accept_rates",
    "acceptance_threshold",
    "bootstrap_mean",
    "evaluate",
    "frechet_distance",
    "generated_features",
    "identity_collapse",
    "identity_similarity",
    "impostor_cosines",
    "kernel_distance",
    "mean_interval",
    "measure_forgetting",
    "other_pictures",
    "perceptual_distance",
    "photo_features",
    "reconstruction",
    "rejection_threshold",
    "render",
    "share_difference",
    "share_interval",
    "strangeness",
    "thresholds_of",
    "weave",
    "yaw_views",
]
