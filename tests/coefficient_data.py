"""Write `data/coefficients.json`: every model of `reference_models.MODELS` at its states, by `quadrature_reference`.

``python tests/coefficient_data.py [NAME ...]`` computes all models (ten minutes on one core) or puts the named ones anew
into the file. The file is an object ``{model: table}``; a table holds ``parameters`` (names), ``fields`` (names of a state's
numbers, then the parameters), ``coefficients`` (names), and ``rows``, each ``[state and parameters, coefficients,
E|integrand| of each coefficient to four digits]``. Numbers are written so that they are read back to the bit.
``y`` is null where there are no class labels.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from quadrature_reference import COEFFICIENTS, NotReached, State, coefficients
from reference_models import MODELS, states

PATH = Path(__file__).parent / "data" / "coefficients.json"
FIELDS = ("m", "dm", "m_star", "beta", "beta1", "Q", "Q_perp", "Q_star", "n", "epsilon", "y")
COUNTS = {False: 200, True: 40}  # by whether the definition is two-dimensional


def _short(value: float) -> float:
    return float(f"{value:.3e}")


def table(name: str, count: int | None = None) -> dict[str, Any]:
    """One model's entry."""
    model = MODELS[name]
    names = sorted(model.parameters)
    rows = []
    for i, (state, parameters) in enumerate(states(name, count or COUNTS[model.two_dimensional])):
        try:
            found = coefficients(model.definition, state, parameters)
        except NotReached as error:
            print(f"{name} {i}: {error}\n  {state} {parameters}", flush=True)
            continue
        values = [getattr(state, field) for field in FIELDS] + [parameters[p] for p in names]
        rows.append(
            [values, [found[c] for c in COEFFICIENTS], [_short(found[f"abs_{c}"]) for c in COEFFICIENTS]],
        )
    return {"parameters": names, "fields": [*FIELDS, *names], "coefficients": list(COEFFICIENTS), "rows": rows}


def read() -> dict[str, Any]:
    """The file's content."""
    content: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return content


def state_of(table: dict[str, Any], row: list[list[float]]) -> tuple[State, dict[str, float]]:
    """The state and the parameters of a row."""
    given = dict(zip(table["fields"], row[0], strict=True))
    del given["Q"]
    parameters = {name: given.pop(name) for name in table["parameters"]}
    return State(**given), parameters


def _text(tables: dict[str, Any]) -> str:
    """JSON with a line a row."""

    def dump(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    parts = []
    for name, entry in tables.items():
        head = dump({k: v for k, v in entry.items() if k != "rows"})[:-1]
        rows = ",\n".join(dump(row) for row in entry["rows"])
        parts.append(f'{dump(name)}:{head},"rows":[\n{rows}]}}')
    return "{" + ",\n".join(parts) + "}\n"


def main() -> None:
    """Compute and write."""
    chosen = sys.argv[1:] or list(MODELS)
    tables = read() if PATH.exists() else {}
    for name in chosen:
        begin = time.perf_counter()
        tables[name] = table(name)
        print(f"{name}: {len(tables[name]['rows'])} states, {time.perf_counter() - begin:.0f} s", flush=True)
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text(_text({n: tables[n] for n in MODELS if n in tables}), encoding="utf-8")


if __name__ == "__main__":
    main()
