"""The tail of a beta-binomial distribution."""

from math import lgamma, log

from detectors.native.compile import compiled, inlined

_MOST_TRIALS = 400
_LN10 = 2.302585092994046
_FAR = 1e200


@inlined
def beta_binomial(k: float, n: float, alpha: float, beta: float) -> float:
    """As `detectors.tails.beta_binomial_score`."""
    if k <= 0.0 or n <= 0.0:
        return 0.0
    if n > _MOST_TRIALS:
        k, n = k * _MOST_TRIALS / n, float(_MOST_TRIALS)
    first, last = int(k), int(n)
    if first > last or first < 1:
        return 0.0
    log_p = (
        lgamma(last + 1.0)
        - lgamma(first + 1.0)
        - lgamma(last - first + 1.0)
        + lgamma(first + alpha)
        + lgamma(last - first + beta)
        - lgamma(last + alpha + beta)
        - lgamma(alpha)
        - lgamma(beta)
        + lgamma(alpha + beta)
    )
    # Of the first term, each following one is a known multiple of the one before.
    total = term = 1.0
    for j in range(first, last):
        term *= (last - j) * (j + alpha) / ((j + 1.0) * (last - j - 1.0 + beta))
        total += term
        if total > _FAR:
            total, term, log_p = total / _FAR, term / _FAR, log_p + log(_FAR)
    return max(0.0, -(log_p + log(total)) / _LN10)


@compiled
def beta_binomial_score(k: float, n: float, alpha: float, beta: float) -> float:
    """The same, to be called from Python."""
    return beta_binomial(k, n, alpha, beta)
