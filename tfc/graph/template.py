"""``tf.make_template``: a function whose variables are made by its first call and found by the others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tfc.errors import GraphError
from tfc.graph.scopes import VariableScope, variable_scope
from tfc.graph.source import describe, here, quoted
from tfc.graph.variables import trainable_variables


class Template:
    """A function with variables of its own.

    Its first call opens a variable scope, later ones enter it again and find what is there.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], create_scope_now: bool, unique_name: str | None, getter: Any
    ) -> None:
        self._name, self._function, self._unique, self._getter = name, function, unique_name, getter
        self._called, self._made_at = False, describe(here())
        self._scope: VariableScope | None = None
        if create_scope_now:
            with self._open() as scope:
                self._scope = scope

    def _open(self) -> Any:
        return variable_scope(self._unique, self._name, custom_getter=self._getter)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        entered = self._open() if self._scope is None else variable_scope(self._scope, reuse=self._called)
        with entered as scope:
            known = len(trainable_variables())
            result = self._function(*arguments, **named)
            made = trainable_variables()[known:]
            if self._called and made:
                names = ", ".join(v.name for v in made)
                message = f"a later call of the template '{scope.name}' (made at {self._made_at}) made variables: {names}"
                raise quoted(GraphError(message, help="tf.get_variable makes variables that are shared"), here())
            self._scope = self._scope or scope
        self._called = True
        return result

    @property
    def name(self) -> str:
        """The name that was given."""
        return self._name

    @property
    def variable_scope(self) -> VariableScope:
        """The scope of its variables, once it has been called."""
        if self._scope is None:
            raise quoted(GraphError(f"the template '{self._name}' has not been called yet"), here())
        return self._scope

    @property
    def variables(self) -> list[Any]:
        """Its variables."""
        return [*self.variable_scope.global_variables(), *self.variable_scope.local_variables()]

    @property
    def trainable_variables(self) -> list[Any]:
        """Its variables that are trained."""
        return self.variable_scope.trainable_variables()


def make_template(
    name_: str,
    func_: Callable[..., Any],
    create_scope_now_: bool = False,
    unique_name_: str | None = None,
    custom_getter_: Any = None,
    **kwargs: Any,
) -> Template:
    """``func_`` with ``kwargs`` given, and with variables that all calls share.

    Args:
        name_: the name of its variable scope, made unique.
        create_scope_now_: make the scope now and not in the first call.
        unique_name_: the name of the scope as it is.

    Raises:
        GraphError: a later call makes another variable.
    """
    function = functools.partial(func_, **kwargs) if kwargs else func_
    return Template(name_, function, create_scope_now_, unique_name_, custom_getter_)
