"""Least squares lines through measurements, and quantiles."""

import math


def line(xs, ys):
    """(slope, intercept) of the least squares line through the points."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread
    return slope, mean_y - slope * mean_x


def exponent(xs, ys):
    """
    The exponent of x with which y grows: 1 is linear, 2 quadratic. The intercept of the line
    through the points is subtracted first.
    """
    _, intercept = line(xs, ys)
    intercept = max(0, min(intercept, min(ys) * 0.9))
    return line([math.log(x) for x in xs], [math.log(y - intercept) for y in ys])[0]


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]
