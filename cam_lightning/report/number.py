"""How a number is said, by its spec alone."""

from __future__ import annotations

from cam_lightning.contracts import Spec

ABSENT = "–"


def said(spec: Spec, value: float | None) -> str:
    """`28.40%`, `1,200`, `0.0125 s`; what is null in the results, since it was no finite number, is said to be so."""
    if value is None:
        return "not finite"
    if spec.kind == "share":
        return f"{value:.2%}"
    return with_unit(spec, f"{value:,.0f}" if spec.kind == "count" else _number(value))


def share(value: float | None, digits: int = 0) -> str:
    """`97%`; what is null in a file, since it was no finite number, is said to be so."""
    return "not finite" if value is None else f"{value:.{digits}%}"


def said_over_runs(spec: Spec, mean: float, deviation: float | None) -> str:
    """`28.40 ± 0.31 %`: a mean, and a sample standard deviation where there are several runs."""
    if spec.kind == "share":
        return f"{100 * mean:.2f}{'' if deviation is None else f' ± {100 * deviation:.2f}'} %"
    if deviation is None:
        return said(spec, mean)
    digits = 1 if spec.kind == "count" else 4
    scale = min((abs(each) for each in (mean, deviation) if each), default=1.0)
    written = f",.{digits}f" if scale >= 10**-digits else ".4g"
    return with_unit(spec, f"{mean:{written}} ± {deviation:{written}}")


def tick(spec: Spec, value: float) -> str:
    """The label of a place on an axis."""
    return f"{100 * value:.4g}%" if spec.kind == "share" else f"{value:g}"


def with_unit(spec: Spec, text: str) -> str:
    """The text with the unit behind it, if there is one."""
    return f"{text} {spec.unit}" if spec.unit else text


def in_words(title: str) -> str:
    """A family's title at the head of a plate or table: with a capital, and without a key's underscores."""
    words = title.replace("_", " ")
    return words[:1].upper() + words[1:]


def _number(value: float) -> str:
    """Four decimals, or four digits where those would say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-2 <= abs(value) < 1e6 else f"{value:.4g}"
