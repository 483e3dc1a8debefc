"""What a published formula is given: a process, and the predictions of a nonlinear score.

x_t = alpha x_0 + sigma z, lambda = log(alpha / sigma), rho = sigma / alpha, D the data and eps the
noise prediction.
"""

import itertools

import sdesolve as ss

DATA = ss.GaussianMixture([0.4, 0.6], [[-1.0], [0.6]], [0.04, 0.09])


class Model:
    """A process with the predictions of its score."""

    def __init__(self, process):
        self.process, self.score = process, DATA.score(process)
        self.alpha, self.sigma, self.lam = process.alpha, process.sigma, process.log_snr

    def rho(self, t):
        return self.sigma(t) / self.alpha(t)

    def data(self, x, t):
        return (x + self.sigma(t) ** 2 * self.score(x, t)) / self.alpha(t)

    def noise(self, x, t):
        return -self.sigma(t) * self.score(x, t)


def pairs(times):
    return itertools.pairwise(times)
