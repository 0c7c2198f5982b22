"""Options that several commands share: the fields of a dataclass as options of a command."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

Result = TypeVar("Result")


def spread(command: Callable[..., Result]) -> Callable[..., Result]:
    """Show each dataclass among a command's parameters as one option for each of its fields.

    The options stand in the parameter's place; the command gets them together, as one value.
    Fields are annotated as a command's parameters are, and have defaults.

    Args:
        command: function with annotated parameters.
    """
    hints = get_type_hints(command, include_extras=True)
    bundles: dict[str, type[Any]] = {
        name: kind
        for name, kind in hints.items()
        if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    shown: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in bundles:
            shown += _options(bundles[parameter.name])
        else:
            hint = hints[parameter.name]
            shown.append(parameter.replace(annotation=hint, kind=parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def called(**given: Any) -> Result:
        bundled = {
            name: kind(**{field.name: given.pop(field.name) for field in dataclasses.fields(kind)})
            for name, kind in bundles.items()
        }
        return command(**given, **bundled)

    # What typer looks at; a function's own are those of `called`.
    vars(called)["__signature__"] = inspect.Signature(shown)
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return called


def _options(kind: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
    ]
