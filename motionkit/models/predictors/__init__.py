"""Prediction of motion: from the frames of a clip that were seen, the frames that follow.

Each model has ``config``, ``forward(context (B, T, J, 3)) -> prediction (B, horizon, J, 3)``, and ``loss`` of whole
clips (B, T + horizon, J, 3) for ``fit``. Positions are in metres with the root at the origin; one frame is one step, so
a model serves the frame rate that it was trained at. What they must beat is in ``zero_velocity``.

================  =====================================================================================================
"convSeq2Seq"     frame by frame, from a summary of all frames and one of the last (Li and others 2018)
"LTD"             all frames at once, as a change of the trajectories' slow waves (Mao and others 2019)
"HisRepItself"    the same for the last frames, told what followed frames like these before (Mao and others 2020)
================  =====================================================================================================
"""

from __future__ import annotations

import torch

from motionkit.fitting.surroundings import seeded
from motionkit.models.predictors.conv_predictor import ConvPredictor, ConvPredictorConfig
from motionkit.models.predictors.dct_graph_predictor import DCTGraphPredictor, DCTGraphPredictorConfig
from motionkit.models.predictors.motion_attention_predictor import (
    MotionAttentionPredictor,
    MotionAttentionPredictorConfig,
)

# name in the papers -> (config type, model type)
PREDICTORS = {
    "convSeq2Seq": (ConvPredictorConfig, ConvPredictor),
    "LTD": (DCTGraphPredictorConfig, DCTGraphPredictor),
    "HisRepItself": (MotionAttentionPredictorConfig, MotionAttentionPredictor),
}

Predictor = ConvPredictor | DCTGraphPredictor | MotionAttentionPredictor


def build_predictors(
    num_joints: int, num_context: int, horizon: int, *, seed: int, device: str | torch.device = "cpu"
) -> dict[str, Predictor]:
    """All of ``PREDICTORS``, by name, in their default sizes, but with no more slow waves than there are frames.
    Untrained they predict zero velocity.

    seed: of the initial weights, the same for each; torch's global generators are left as they were.
    Raises ``ValueError`` as their configs.
    """
    frames = {"LTD": num_context + horizon, "HisRepItself": MotionAttentionPredictorConfig.kernel + horizon}
    predictors = {}
    for name, (config_type, model_type) in PREDICTORS.items():
        waves = {"num_coefficients": min(config_type.num_coefficients, frames[name])} if name in frames else {}
        with seeded(torch.device("cpu"), seed):
            predictors[name] = model_type(config_type(num_joints, num_context, horizon, **waves)).to(device)
    return predictors
