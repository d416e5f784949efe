"""From whatever went wrong to `EnvProblem`s: names and rules come out, values stay in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from prodkit.core.secrets import RuleError
from prodkit.env.texts import Language, headline, hint
from prodkit.errors import EnvError, EnvProblem

__all__ = ["Problems"]

_RULES = {
    "missing": "missing",
    "literal_error": "choice",
    "enum": "choice",
    "bool_parsing": "boolean",
    "bool_type": "boolean",
    "int_parsing": "integer",
    "int_type": "integer",
    "int_from_float": "integer",
    "int_parsing_size": "integer",
    "float_parsing": "number",
    "float_type": "number",
    "decimal_parsing": "number",
    "finite_number": "number",
    "string_pattern_mismatch": "pattern",
    "string_type": "text",
    "time_delta_parsing": "duration",
    "time_delta_type": "duration",
    "date_parsing": "date",
    "date_from_datetime_parsing": "date",
    "date_from_datetime_inexact": "date",
    "date_type": "date",
    "datetime_parsing": "datetime",
    "datetime_from_date_parsing": "datetime",
    "datetime_type": "datetime",
    "time_parsing": "time",
    "time_type": "time",
    "uuid_parsing": "uuid",
    "uuid_type": "uuid",
    "url_parsing": "address",
    "url_syntax_violation": "address",
    "url_scheme": "address",
    "url_type": "address",
    "ip_any_address": "ip",
    "ip_any_interface": "ip",
    "ip_any_network": "ip",
    "ip_v4_address": "ip",
    "ip_v4_interface": "ip",
    "ip_v4_network": "ip",
    "ip_v6_address": "ip",
    "ip_v6_interface": "ip",
    "ip_v6_network": "ip",
    "path_not_exists": "path",
    "path_not_file": "path",
    "path_not_directory": "path",
    "list_type": "list",
    "tuple_type": "list",
    "set_type": "list",
    "frozen_set_type": "list",
    "dict_type": "json",
    "json_invalid": "json",
    "value_error": "custom",
    "assertion_error": "custom",
}
_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "×"}
_LENGTHS = {"min_length": ">=", "max_length": "<="}


class Problems:
    """Collect what is wrong, once per variable and rule, in the order of the fields."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._found: dict[tuple[str, str], EnvProblem] = {}
        self.spoilt: set[str] = set()
        """Variables that are known to be wrong: pydantic's complaint about them would say it twice."""

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, variable: str, rule: str, *, item: str = "", **facts: object) -> None:
        """Adds a problem of `variable`; `facts` fill the hint and never hold a value."""
        text = hint(rule, self.language, **facts)
        if item:
            text = hint("item", self.language, item=item, rest=text)
        self._found.setdefault((variable, rule), EnvProblem(variable, rule, text))

    def add_validation(
        self,
        errors: Iterable[Mapping[str, Any]],
        names: Mapping[str, str],
        values: Collection[str],
        hidden: Collection[str],
        nested: str = "",
    ) -> None:
        """Adds what pydantic found; `names` maps its first location to the variable, `values` stay unsaid."""
        for error in errors:
            location: tuple[Any, ...] = error["loc"]
            head = str(location[0]) if location else ""
            variable = names.get(head, head) or "-"
            inside = [str(part).upper() for part in location[1:] if isinstance(part, str)]
            if nested and inside:
                variable = nested.join((variable, *inside))
            if variable in self.spoilt:
                continue
            context = dict(error.get("ctx") or {})
            rule, facts = _translate(str(error["type"]), context)
            if rule == "custom":
                message = str(context.get("error", ""))
                if variable in hidden or not message or any(value in message for value in values):
                    rule, facts = "invalid", {}
                else:
                    facts = {"message": message}
            inner = [part for part in location[1:] if isinstance(part, int)]
            self.add(variable, rule, item=str(inner[0] + 1) if inner else "", **facts)

    def error(self) -> EnvError:
        """The one error that holds them all."""
        found = tuple(self._found.values())
        lines = [headline(len(found), self.language)]
        lines += [f"  {problem.variable} {problem.hint}" for problem in found]
        return EnvError("\n".join(lines), problems=found)


def _translate(kind: str, context: Mapping[str, Any]) -> tuple[str, dict[str, object]]:
    broken = context.get("error")
    if isinstance(broken, RuleError):
        return broken.rule, broken.facts
    for key, sign in _LIMITS.items():
        if key in context and kind not in _RULES:
            return "range", {"limit": f"{sign} {context[key]}"}
    for key, sign in _LENGTHS.items():
        if key in context and kind not in _RULES:
            return "length", {"limit": f"{sign} {context[key]}"}
    rule = _RULES.get(kind, "invalid")
    if rule == "choice" and "expected" in context:
        return rule, {"expected": str(context["expected"]).replace(" or ", ", ").replace("'", "")}
    return rule, {}
