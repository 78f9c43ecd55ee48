"""What the statistics and axes of a result are called, in words and in the symbols of ``docs/theory.md``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """What a column of numbers is.

    Parameters
    ----------
    long_name : str
        In words.
    symbol : str
        In LaTeX without dollars, in the notation of ``docs/theory.md``; empty where there is none.
    units : str
        ``"1"``: without dimension, as every number here is; empty for words. Time counts steps over dimension,
        ``t = k/d``.

    Examples
    --------
    >>> quantity("distance2").label
    'squared distance $\\\\Vert X - X^\\\\ast\\\\Vert^2$'
    """

    long_name: str
    symbol: str = ""
    units: str = "1"

    @property
    def label(self) -> str:
        """Words and symbol, as Matplotlib takes them."""
        return f"{self.long_name} ${self.symbol}$" if self.symbol else self.long_name

    @property
    def attributes(self) -> dict[str, str]:
        """As xarray's attributes have them."""
        told = {"long_name": self.long_name, "units": self.units, "symbol": self.symbol}
        return {name: text for name, text in told.items() if text}


TIME = Quantity("time, steps over dimension", "t = k/d")

_KNOWN = {
    "time": TIME,
    "run": Quantity("independent run"),
    "curve": Quantity("curve"),
    "status": Quantity("how the curve ended", units=""),
    "ended": Quantity("time when the curve ended", "t = k/d"),
    "mode": Quantity("mode"),
    "class": Quantity("class of the mixture"),
    "adversarial_risk": Quantity("adversarial risk", r"\langle R\rangle"),
    "clean_risk": Quantity("clean risk", r"\langle E f\rangle"),
    "robust_error": Quantity("robust error rate"),
    "clean_error": Quantity("clean error rate"),
    "norm2": Quantity("squared norm", r"n^2"),
    "overlap": Quantity("overlap", r"\langle X, X^\ast\rangle"),
    "cosine": Quantity("cosine of iterate and teacher", r"\cos(X, X^\ast)"),
    "distance2": Quantity("squared distance", r"\Vert X - X^\ast\Vert^2"),
    "optimum_distance2": Quantity("squared distance from the optimum", r"\Vert X - X^\circ\Vert^2"),
    "excess_risk": Quantity("excess risk", r"\mathcal{R}(X) - \mathcal{R}(X^\circ)"),
    "learning_rate": Quantity("learning rate", r"\gamma(t)"),
    "effective_ridge": Quantity("effective ridge", r"(F/n + \tau)/\langle B\rangle"),
    "mode_mean": Quantity("mean of the mode", "x_j"),
    "mode_variance": Quantity("variance of the mode", "v_j"),
    "eigenvalue": Quantity("covariance eigenvalue", r"\lambda_{ij}"),
    "weight": Quantity("share of the dimension", r"\omega_j"),
    "probability": Quantity("probability of the class", "p_i"),
    "epsilon": Quantity("radius of the adversary", r"\varepsilon"),
    "tau": Quantity("ridge", r"\tau"),
    "gamma": Quantity("learning rate", r"\gamma"),
    "exponent": Quantity("exponent of the spectrum"),
    "eta": Quantity("learning rate of AdaGrad-norm", r"\eta"),
}


def quantity(name: str) -> Quantity:
    """The quantity of a name; a statistic or a parameter of the user's own is called by its name.

    Examples
    --------
    >>> quantity("norm2").symbol, quantity("my_margin")
    ('n^2', Quantity(long_name='my_margin', symbol='', units='1'))
    """
    return _KNOWN.get(name, Quantity(name))
