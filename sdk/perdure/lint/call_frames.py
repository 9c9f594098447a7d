"""Where a walk through the code is: in whose handler, in which part of it, and by which way.

The check follows calls, so one function may be looked at several times: as handler code, as the
body of a step, and from several handlers. A frame says which of these it is.
"""

from dataclasses import dataclass, replace

from perdure.lint.operations import Contexts, Role
from perdure.lint.scopes import Scope


@dataclass(frozen=True)
class CallFrame:
    """One function, looked at for a reason.

    `region` holds all functions that run on the way here, `inside` those of the innermost step or
    child: what it owns may change, what lies in the region outside of it may not.
    """

    scope: Scope
    role: Role
    contexts: Contexts
    region: frozenset[Scope]
    inside: frozenset[Scope]
    chain: tuple[str, ...]

    @property
    def replayed(self) -> bool:
        """Whether this runs again on every replay, and so must do the same again."""
        return self.role is not Role.BODY

    @property
    def key(self) -> tuple[object, ...]:
        """What makes looking again worthwhile; the way here does not."""
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
    """Return the context that a function is given as a positional parameter."""
    names = scope.parameters()
    return frozenset({(scope, names[position])}) if position < len(names) else frozenset()
