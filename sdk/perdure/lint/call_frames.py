"""Call frames: the position of the check in the call graph.

The check follows calls, so one function may be checked several times: as handler code, as the body
of a step, and from several handlers. A frame distinguishes these.
"""

from dataclasses import dataclass, replace

from perdure.lint.operations import Contexts, Role
from perdure.lint.scopes import Scope


@dataclass(frozen=True)
class CallFrame:
    """One function, checked in a role.

    `region` holds all functions on the call chain, `inside` those of the innermost step or child:
    variables of the latter may change, those of other functions in the region may not.
    """

    scope: Scope
    role: Role
    contexts: Contexts
    region: frozenset[Scope]
    inside: frozenset[Scope]
    chain: tuple[str, ...]

    @property
    def replayed(self) -> bool:
        """True if this runs again on every replay, and so must be deterministic."""
        return self.role is not Role.BODY

    @property
    def key(self) -> tuple[object, ...]:
        """Key of the distinct checks of a function; the call chain is not part of it."""
        boundary = next(iter(self.inside)) if len(self.inside) == 1 else None
        nameable = frozenset(each for each in self.contexts if self.scope.within({each[0]}))
        return (self.scope, self.role, nameable, boundary, self.inside == self.region)

    def called(self, scope: Scope, contexts: Contexts) -> "CallFrame":
        """Return the frame of a function that is called here."""
        return replace(
            self,
            scope=scope,
            contexts=self.contexts | contexts,
            region=self.region | {scope},
            inside=self.inside | {scope},
            chain=(*self.chain, scope.name),
        )

    def operated(self, scope: Scope, role: Role, context_position: int) -> "CallFrame":
        """Return the frame of a function that an operation runs."""
        return replace(
            self,
            scope=scope,
            role=role,
            contexts=self.contexts | own_context(scope, context_position),
            region=self.region | {scope},
            inside=frozenset({scope}),
            chain=(*self.chain, scope.name),
        )


def first_frame(scope: Scope, role: Role, context_position: int) -> CallFrame:
    """Return the frame of a function that a worker, or an unknown operation, runs."""
    alone = frozenset({scope})
    contexts = own_context(scope, context_position)
    return CallFrame(scope, role, contexts, alone, alone, (scope.name,))


def own_context(scope: Scope, position: int) -> Contexts:
    """Return the context that a function receives as a positional parameter."""
    names = scope.parameters()
    return frozenset({(scope, names[position])}) if position < len(names) else frozenset()
