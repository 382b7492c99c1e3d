"""A clip that the tests of the autoencoders share."""

import torch


def moving_bar(channels=1, batch=2, frames=8, size=16):
    """A bar that crosses the picture, one channel faster than the other."""
    clips = torch.zeros(batch, channels, frames, size, size)
    for clip in range(batch):
        for channel in range(channels):
            for frame in range(frames):
                column = (2 + frame * (1 + channel) + 3 * clip) % (size - 2)
                clips[clip, channel, frame, 4:-4, column : column + 2] = 1
    return clips
