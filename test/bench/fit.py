"""Straight lines through measurements, and quantiles of them."""

import math


def line(xs, ys):
    """(slope, constant) of the least squares line through the points."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / spread
    return slope, mean_y - slope * mean_x


def exponent(xs, ys):
    """
    The power of x with which y grows: 1 is linear, 2 quadratic. What y is at x = 0, as the line
    through the points has it, does not count.
    """
    _, constant = line(xs, ys)
    constant = max(0, min(constant, min(ys) * 0.9))
    return line([math.log(x) for x in xs], [math.log(y - constant) for y in ys])[0]


def quantile(values, share):
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)]
