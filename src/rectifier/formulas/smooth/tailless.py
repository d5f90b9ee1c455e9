"""The arithmetic of the forms that have no tails: `narrow` and `plain`."""

from __future__ import annotations


def whole(x, tail):
    return x


def sum_parts(x, y, tail):
    return x + y, 0.0


def unordered_sum_parts(x, y, tail):
    return x + y, 0.0


def product_parts(x, x_tail, y, y_tail):
    return x * y, 0.0


def product(x, x_tail, y, y_tail):
    return x * y


def quotient(x, x_tail, y, y_tail):
    return x / y


def quotient_parts(x, x_tail, y, y_tail):
    return x / y, 0.0
