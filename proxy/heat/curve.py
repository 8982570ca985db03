"""The heat curve: what to deliver by outdoor temperature, straight lines between the points and flat beyond both ends.

Pure arithmetic. Whether the curve rules, and whether an outdoor temperature may be believed, is decided elsewhere.
"""

from collections.abc import Sequence


def at(points: Sequence[tuple[float, float]], outdoor_c: float) -> float | None:
    """The value at an outdoor temperature; None without points. The points rise in outdoor temperature."""
    if not points:
        return None
    below = [point for point in points if point[0] <= outdoor_c]
    above = [point for point in points if point[0] > outdoor_c]
    if not below:
        return points[0][1]
    if not above:
        return points[-1][1]
    (left_c, left), (right_c, right) = below[-1], above[0]
    return left + (right - left) * (outdoor_c - left_c) / (right_c - left_c)
