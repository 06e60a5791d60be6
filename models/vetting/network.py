"""A recurrent convolutional network on sequences of stamps (Carrasco-Davis et al. 2019)."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from nightsift.models.vetting.stamps import STEP_COLUMNS

_BLOCKS: Final = ((16, 5, 2), (32, 3, 2), (64, 3, 1), (96, 3, 2))  # channels, kernel, stride
_COLUMNS: Final = 6
_FEATURES: Final = 64
_HIDDEN: Final = 96
_CODES_A_UNIT: Final = 32.0


class StampsGru(nn.Module):
    """A small CNN reads each stamp, a GRU the sequence.

    The trail lies along the rows, and so does what goes before and after it: the middle half of the rows is
    read, and maps are pooled over the rows alone, so that what is left of the candidate, on it and right of
    it stays apart. Logits come from the last state of the GRU, the features of the
    candidate's stamp and the greatest ones of the other stamps.

    Parameters
    ----------
    classes
        Number of classes.
    middle
        Place of the candidate's stamp in the sequence.
    paired
        Whether the CNN sees each stamp beside the candidate's own, as two channels: then it can tell whether
        a trail goes on where another ends, which is lost when stamps are read one by one. Nothing is
        subtracted either way.
    """

    def __init__(self, classes: int, middle: int, *, paired: bool = True) -> None:
        super().__init__()
        self.classes, self.middle, self.paired = classes, middle, paired
        widths = [2 if paired else 1, *(channels for channels, _, _ in _BLOCKS)]
        self.convolutions = nn.Sequential(
            *(_block(before, *block) for before, block in zip(widths[:-1], _BLOCKS, strict=True))
        )
        self.features = nn.Sequential(nn.Linear(_COLUMNS * widths[-1], _FEATURES), nn.ReLU())
        self.recurrent = nn.GRU(_FEATURES + STEP_COLUMNS, _HIDDEN, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(_HIDDEN + 2 * _FEATURES, classes))

    def forward(self, codes: Tensor, steps: Tensor) -> Tensor:
        """Logits (n, classes).

        Parameters
        ----------
        codes
            (n, frames, size, size), of any real type.
        steps
            float32, (n, frames, 4).
        """
        quarter = codes.shape[2] // 4
        stamps = codes[:, :, quarter : 3 * quarter].float() / _CODES_A_UNIT
        channels = [stamps, stamps[:, self.middle, None].expand_as(stamps)] if self.paired else [stamps]
        pictures = torch.stack(channels, dim=2).flatten(0, 1)
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=self.training):
            maps = self.convolutions(pictures.contiguous(memory_format=torch.channels_last)).float()
        columns = torch.nn.functional.adaptive_avg_pool1d(maps.amax(2), _COLUMNS)
        seen = self.features(columns.flatten(1)).unflatten(0, codes.shape[:2])
        # A missing stamp says nothing but that it is missing.
        seen = seen * steps[..., :1]
        states, _ = self.recurrent(torch.cat([seen, steps], dim=2))
        others = [seen[:, : self.middle], seen[:, self.middle + 1 :], torch.zeros_like(seen[:, :1])]
        summary = states[:, -1], seen[:, self.middle], torch.cat(others, dim=1).amax(1)
        logits: Tensor = self.head(torch.cat(summary, dim=1))
        return logits


def _block(before: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
