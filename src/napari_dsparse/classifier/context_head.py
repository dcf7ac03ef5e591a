"""A last layer that sees the surroundings of a pixel beside the pixel itself."""

from __future__ import annotations

from torch import Tensor, nn

#: Taps per axis of the windows that means are taken over, one trunk stride apart: with a stride of 4 they
#: reach over 33, 97 and 193 pixels.
WINDOWS = (9, 25, 49)


class ContextHead(nn.Module):
    """One linear layer over features and over their means in windows around a pixel.

    A linear layer and a mean commute. So the layer comes first, and means are taken over its few outputs
    instead of over hundreds of features: context costs a few additions per pixel.

    In a stack, planes can be seen with those before and behind them. Then the last outputs of the layer are a
    plane's part in the scores of its neighbours: whoever has all three planes adds the mean of both
    neighbours' parts. `forward`, which has one plane, leaves them out.

    Parameters
    ----------
    features : int
        Channels that come in, F.
    classes : int
        K.
    neighbours : bool
        True for a stack whose planes are seen with those beside them.
    """

    def __init__(self, features: int, classes: int, neighbours: bool = False) -> None:
        super().__init__()
        # Outputs 0..K-1 are scores of the detail, the next K those of the first window, and so on.
        self.linear = nn.Conv2d(features, (1 + len(WINDOWS) + neighbours) * classes, 1)
        self.means = nn.ModuleList(nn.AvgPool2d(window, 1) for window in WINDOWS)
        self.classes = classes

    def forward(self, features: Tensor) -> Tensor:
        """Scores (N, K, h - 48, w - 48) of features (N, F, h, w)."""
        parts, count, half = self.linear(features), self.classes, WINDOWS[-1] // 2
        scores: Tensor = parts[:, :count, half:-half, half:-half]
        for number, (window, mean) in enumerate(zip(WINDOWS, self.means, strict=True), start=1):
            part, margin = parts[:, number * count : (number + 1) * count], half - window // 2
            scores = scores + mean(part[:, :, margin:-margin, margin:-margin] if margin else part)
        return scores
