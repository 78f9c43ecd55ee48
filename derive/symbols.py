"""The symbols of ``docs/theory.md`` §1–3, one object each."""

from __future__ import annotations

import sympy as sp

# Problem (§1)
r, y, r_star, xi, t = sp.symbols("r y r_star xi t", real=True)
n = sp.Symbol("n", nonnegative=True)
epsilon, tau = sp.symbols("epsilon tau", nonnegative=True)
gamma, d = sp.symbols("gamma d", positive=True)

# Score law of one class (§2). `dm = m − m*`, `beta1 = beta − 1`: summed directly, never by subtraction.
m, dm, m_star, beta, beta1 = sp.symbols("m dm m_star beta beta1", real=True)
Q, Q_perp, Q_star = sp.symbols("Q Q_perp Q_star", nonnegative=True)

# Standard normal variable of an expectation, its law's mean and standard deviation
z, mean = sp.symbols("z mean", real=True)
s = sp.Symbol("s", positive=True)

# Latent form of the target, ell = mean_ell + s_ell z_star, and the score given it (§2)
ell, z_star, mean_ell, slope_given, mean_given, y_given, dy_given = sp.symbols(
    "ell z_star mean_ell slope_given mean_given y_given dy_given", real=True
)
s_ell, s_given, s_noise = sp.symbols("s_ell s_given s_noise", positive=True)

# Score and label along a line of their plane, and which line that is
score_along, score_across, label_along, label_across = sp.symbols(
    "score_along score_across label_along label_across", real=True
)
gap_along, gap_across, turn, z_across = sp.symbols("gap_along gap_across turn z_across", real=True)

# Update of one coordinate (§1): iterate X, input a, ∂_r f_adv, ∂_n f_adv
X, a, d_r, d_n = sp.symbols("X a d_r d_n", real=True)

# Mode equations (§3)
i, j = sp.symbols("i j", integer=True, positive=True)
K = sp.Symbol("K", integer=True, positive=True)
x, v, x_star, omega = (sp.IndexedBase(name)[j] for name in ("x", "v", "x_star", "omega"))
lam, mu = (sp.IndexedBase(name)[i, j] for name in ("lam", "mu"))
p, A, B, D, F, I, BD = (sp.IndexedBase(name)[i] for name in ("p", "A", "B", "D", "F", "I", "BD"))

# Rates of a mode as the kernel has them, and what a learning rate looks at beside them (§4); e = x − X*
offset, slope, noise, e, of_x, of_v = (
    sp.IndexedBase(name)[j] for name in ("offset", "slope", "noise", "e", "of_x", "of_v")
)
# x − X°; computed by way of X*, which loses no digits where X° = X*
e_optimum = sp.IndexedBase("e_optimum")[j]

COEFFICIENTS = ("R", "A", "B", "D", "F", "I")


class Parameter(sp.Symbol):
    """A name of the user's. Never equal to a symbol of the engine, so any name is free to use (``m``, ``s``, ``I``).

    One that is known to be positive is another symbol of the same name: in a kernel both are that parameter.
    """

    def __new__(cls, name: str, *, positive: bool = False) -> Parameter:
        assumptions = {"positive": True} if positive else {}
        symbol: Parameter = super().__new__(cls, name, real=True, **assumptions)
        return symbol

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, bool]]:
        return (self.name,), {"positive": True} if self.is_positive else {}


def parameter(name: str) -> sp.Symbol:
    """Symbol of a parameter (``epsilon`` and ``tau``, which the theory knows, included)."""
    return {"epsilon": epsilon, "tau": tau}.get(name) or Parameter(name)
