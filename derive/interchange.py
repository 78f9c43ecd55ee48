"""A limit as JSON: the model, from which an equal limit is derived again, and the results in print.

The reader takes the model alone, as text of the expression language; nothing in a document is evaluated, and no
printed result is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp

from sgdlimit.derive.errors import InputError
from sgdlimit.derive.known_limits import known_limits
from sgdlimit.derive.limit import Limit, derive
from sgdlimit.derive.model import Expectation, Formula, L2Adversary, Labels, Loss, Model, RandomLabels, Teacher
from sgdlimit.derive.notation import tex
from sgdlimit.derive.quadrature import Definition, Quadrature

FORMAT = 1
"""Number of the format; a reader of one refuses another."""

_WHERE = "JSON document"


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────


def json_text(limit: Limit) -> str:
    """A limit as JSON, in one form: equal limits have equal texts."""
    return json.dumps(as_dict(limit), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_dict(limit: Limit) -> dict[str, Any]:
    """What the JSON of a limit holds."""
    attacked = limit.adversarial_loss
    return {
        "format": FORMAT,
        "model": _model(limit.model),
        "statistics": {name: _statistic(statistic) for name, statistic in limit.requested.items()},
        "parameters": list(limit.parameters),
        "adversarial_loss": {
            "case": attacked.case,
            "statement": attacked.statement,
            "perturbation": _printed(attacked.perturbation),
            "assumptions": [_printed(e) for e in limit.assumptions],
            "switches": [
                {"symbol": str(w.symbol), "argument": _printed(w.argument)} for w in attacked.function.switches
            ],
            "value": _printed(attacked.function.expression),
            "derivative_r": _printed(limit.gradient.d_r),
            "derivative_n": _printed(limit.gradient.d_n),
        },
        "definitions": _definitions((*limit.summary, *limit.definitions)),
        "coefficients": _ruled(limit.coefficients, limit.rules),
        "sum_BD": _printed(limit.sum_BD),
        "expectations": _ruled(limit.expectations, limit.rules),
        "quadratures": [_quadrature(q) for q in limit.quadratures],
        "mode_equations": {
            "mean": _printed(limit.equations.mean),
            "variance": _printed(limit.equations.variance),
        },
        "results": {name: _printed(e) for name, e in limit.statistics.items()},
        "known_limits": [
            {"name": c.name, "standard": c.counterpart, "equal": c.equal, "how": c.how, "integrands": c.integrands}
            for c in known_limits(limit).comparisons
        ],
    }


def _model(model: Model) -> dict[str, Any]:
    """A model in the keys of a spec file's section ``[model]``."""
    target: str | dict[str, str]
    match model.target:
        case Labels():
            target = "labels"
        case Teacher(text):
            target = {"teacher": text}
        case RandomLabels(text):
            target = {"random_labels": text}
    return {"loss": model.loss.text, "target": target, "adversary": "l2" if model.adversary else "none"}


def _statistic(statistic: Expectation | Formula) -> dict[str, str]:
    return {"expectation" if isinstance(statistic, Expectation) else "formula": statistic.text}


def _printed(expression: sp.Basic) -> dict[str, str]:
    return {"text": str(expression), "latex": tex(expression)}


def _ruled(values: Mapping[str, sp.Expr], rules: Mapping[str, str]) -> dict[str, Any]:
    return {name: {**_printed(e), "rule": rules.get(name, "")} for name, e in values.items()}


def _definitions(items: Iterable[Definition | Quadrature]) -> list[dict[str, Any]]:
    """Definitions in order; an inner quadrature stands where it is evaluated."""
    return [
        {"quadrature": _quadrature(item)}
        if isinstance(item, Quadrature)
        else {"symbol": str(item.symbol), **_printed(item.expression)}
        for item in items
    ]


def _quadrature(quadrature: Quadrature) -> dict[str, Any]:
    return {
        "variable": str(quadrature.variable),
        "definitions": _definitions(quadrature.steps),
        "breakpoints": [_printed(e) for e in quadrature.breakpoints],
        **({"branches": [_printed(e) for e in quadrature.branches]} if quadrature.branches else {}),
        "integrands": [
            {
                "symbol": str(integrand.symbol),
                **_printed(integrand.expression),
                "layers": [
                    {"kind": layer.kind, "location": _printed(layer.location), "width": _printed(layer.width)}
                    for layer in integrand.layers
                ],
                "crossings": [
                    {"kind": crossing.kind, "argument": _printed(crossing.argument), "width": _printed(crossing.width)}
                    for crossing in integrand.crossings
                ],
                "masses": [
                    {"where": _printed(mass.crossing.argument), "weight": _printed(mass.weight)}
                    for mass in integrand.masses
                ],
                **({"jump": _printed(integrand.jump.weight)} if integrand.jump else {}),
            }
            for integrand in quadrature.integrands
        ],
    }


# ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────


def model_from_json(text: str) -> Model:
    """The model of a document that :meth:`Limit.json` wrote.

    Raises
    ------
    InputError
        For a text that is no such document; says what is wrong with it.

    Examples
    --------
    >>> model = Model(Loss("(r - y)**2/2"), Teacher("r_star + sigma*xi"), L2Adversary())
    >>> model_from_json(derive(model).json()) == model
    True
    >>> model_from_json('{"format": 2}')
    Traceback (most recent call last):
    sgdlimit.derive.errors.InputError: JSON document: its format is 2; this version reads format 1
    """
    given = _get(_document(text), "model", dict, "the document")
    adversary = _get(given, "adversary", str, "the model")
    if adversary not in ("l2", "none"):
        raise InputError(_WHERE, f"the adversary is {adversary!r}", "it is l2 or none")
    target = given.get("target")
    kinds: dict[str, type[Teacher] | type[RandomLabels]] = {"teacher": Teacher, "random_labels": RandomLabels}
    if target == "labels":
        built: Labels | Teacher | RandomLabels = Labels()
    elif isinstance(target, dict) and len(target) == 1 and set(target) <= set(kinds):
        ((kind, _),) = target.items()
        built = kinds[kind](_get(target, kind, str, "the target"))
    else:
        raise InputError(_WHERE, f"the target is {target!r}", 'it is "labels", {"teacher": …} or {"random_labels": …}')
    return Model(Loss(_get(given, "loss", str, "the model")), built, L2Adversary() if adversary == "l2" else None)


def statistics_from_json(text: str) -> dict[str, Expectation | Formula]:
    """The user's statistics in a document that :meth:`Limit.json` wrote.

    Raises
    ------
    InputError
        For a text that is no such document.
    """
    given = _get(_document(text), "statistics", dict, "the document")
    kinds: dict[str, type[Expectation] | type[Formula]] = {"expectation": Expectation, "formula": Formula}
    found: dict[str, Expectation | Formula] = {}
    for name, statistic in given.items():
        if not (isinstance(statistic, dict) and len(statistic) == 1 and set(statistic) <= set(kinds)):
            raise InputError(_WHERE, f"the statistic {name} is {statistic!r}", "it is an expectation or a formula")
        ((kind, _),) = statistic.items()
        found[name] = kinds[kind](_get(statistic, kind, str, f"the statistic {name}"))
    return found


def limit_from_json(text: str) -> Limit:
    """The limit of a document that :meth:`Limit.json` wrote: derived again, and compared with what is printed in it.

    Raises
    ------
    InputError
        For a text that is no such document, or one whose results are not those of its model: of another version of the
        engine, of another update rule, or of a limit with a scaled coefficient.
    """
    limit = derive(model_from_json(text), statistics_from_json(text))
    written, printed = _document(text), as_dict(limit)
    different = [key for key in printed if written.get(key) != printed[key]]
    if different:
        raise InputError(
            _WHERE,
            f"its {', '.join(different)} are not what its model gives",
            "it is of another version, of another update rule or of a scaled limit; derive it again",
        )
    return limit


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(_WHERE, f"it is not JSON ({error})", "give what Limit.json() wrote") from None
    if not isinstance(document, dict) or "format" not in document:
        raise InputError(_WHERE, "it is not the document of a limit", "give what Limit.json() wrote")
    if document["format"] != FORMAT:
        raise InputError(_WHERE, f"its format is {document['format']!r}", f"this version reads format {FORMAT}")
    return document


def _get(table: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    if not isinstance(table.get(key), kind):
        what = "a table" if kind is dict else "text"
        raise InputError(_WHERE, f"{where} has no {key} that is {what}", "give what Limit.json() wrote")
    return table[key]
