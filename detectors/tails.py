"""Tail probabilities as scores, -log10 p; a score is cut off at 60."""

from math import log10

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, stdtr  # type: ignore[import-untyped]

from detectors.native import tails as native

_LOWEST_P = 1e-60


def beta_binomial_score(k: float, n: float, alpha: float, beta: float) -> float:
    """-log10 P(X >= k) for X ~ BetaBinomial(n, alpha, beta), exact up to 400 trials.

    Above that, `k` and `n` are scaled down together, which can only lower the score. `alpha` and
    `beta` may be the counts seen so far: then this is the predictive tail given them.
    """
    return native.beta_binomial_score(float(k), float(n), float(alpha), float(beta))


def gamma_poisson_scores(count: float, mean: float, shape: float) -> tuple[float, float]:
    """-log10 P(X >= count) and -log10 P(X <= count), X negative binomial.

    `mean` is the expected count and `shape` the gamma's shape: variance mean + mean²/shape. From
    the identity with the incomplete beta function (Abramowitz and Stegun 26.5.26).
    """
    if mean <= 0:
        return (0.0, 0.0) if count <= 0 else (60.0, 0.0)
    q = mean / (mean + shape)
    at_least = float(betainc(count, shape, q)) if count > 0 else 1.0
    at_most = float(betaincc(count + 1.0, shape, q))
    return -log10(max(at_least, _LOWEST_P)), -log10(max(at_most, _LOWEST_P))


def student_score(z: float, degrees: int) -> float:
    """-log10 P(|T| >= z) for Student's t with so many degrees of freedom."""
    return -log10(max(2.0 * float(stdtr(degrees, -z)), _LOWEST_P))


def student_scores(z: NDArray[np.float64], degrees: int) -> NDArray[np.float64]:
    """`student_score` of each, to the bit."""
    tails = np.maximum(2.0 * stdtr(degrees, -z), _LOWEST_P)
    return np.array([-log10(tail) for tail in tails.tolist()])


def beta_score(value: float, mean: float, variance: float) -> float:
    """-log10 P(X >= value) for a Beta variable on 0..1 of this mean and variance."""
    strength = max(mean * (1 - mean) / variance - 1, 2.0)
    p = float(betaincc(mean * strength, (1 - mean) * strength, value))
    return -log10(max(p, _LOWEST_P))
