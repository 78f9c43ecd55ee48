"""Sums over modes and classes, and what the coefficients are functions of (``docs/theory.md`` §2–3)."""

from __future__ import annotations

import sympy as sp

from sgdlimit.derive import symbols
from sgdlimit.derive.quadrature import Definition
from sgdlimit.derive.symbols import K, i, j, lam, mu, n, p, v, x, x_star

N = sp.Symbol("N", integer=True, positive=True)
NORM2 = sp.Symbol("norm2", nonnegative=True)
INVERSE_NORM = sp.Symbol("inverse_norm", nonnegative=True)
TEACHER_NORM2 = sp.Symbol("teacher_norm2", nonnegative=True)


def over_modes(summand: sp.Expr) -> sp.Sum:
    """``Σ_j``."""
    return sp.Sum(summand, (j, 1, N))


def over_classes(name: str) -> sp.Sum:
    """``Σ_i p_i (name)_i``."""
    return sp.Sum(p * sp.IndexedBase(name)[i], (i, 1, K))


# What the coefficients and statistics are functions of (§2, §3). Sums of terms of one sign wherever a difference would
# cancel: `Q_perp = Q − c²/Q*` and `s² = Q − 2c + Q*` are never formed.
SUMMARY: tuple[Definition, ...] = (
    Definition(NORM2, over_modes(x**2 + v)),
    Definition(n, sp.sqrt(NORM2)),
    # F x/n := 0 at n = 0
    Definition(INVERSE_NORM, sp.Piecewise((1 / n, n > 0), (0, True))),
    Definition(TEACHER_NORM2, over_modes(x_star**2)),
    Definition(symbols.m_star, over_modes(mu * x_star)),
    Definition(symbols.Q_star, over_modes(lam * x_star**2)),
    Definition(symbols.m, over_modes(mu * x)),
    Definition(symbols.dm, over_modes(mu * (x - x_star))),
    Definition(symbols.Q, over_modes(lam * (x**2 + v))),
    Definition(
        symbols.beta,
        sp.Piecewise((over_modes(lam * x_star * x) / symbols.Q_star, symbols.Q_star > 0), (0, True)),
    ),
    Definition(
        symbols.beta1,
        sp.Piecewise((over_modes(lam * x_star * (x - x_star)) / symbols.Q_star, symbols.Q_star > 0), (-1, True)),
    ),
    Definition(symbols.Q_perp, over_modes(lam * ((x - symbols.beta * x_star) ** 2 + v))),
)
