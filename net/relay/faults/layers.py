"""The parameters of one kind of fault on every link, set by commands of which the last one counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeAlias, TypeVar

Link: TypeAlias = tuple[int, int]
"""(from, to): one direction."""

ALL: Link = (0, 0)
"""As a key: every link, before the same command's values for single ones."""

V = TypeVar("V")


class Layers(Generic[V]):
    """Each command is a layer over those before it. A permanent one replaces what it covers; one with a
    `token` only hides it, until it is lifted. So when "delay 300 for ten seconds" ends, the value set before it, or
    one set in the meantime, applies."""

    def __init__(self, initial: V) -> None:
        self._initial = initial
        self._layers: list[tuple[int | None, dict[Link, V]]] = []
        self.general = initial
        """The value for every link that is not in `own`."""
        self.own: dict[Link, V] = {}
        """The values of links that differ from that."""

    def of(self, link: Link) -> V:
        return self.own.get(link, self.general)

    def set(self, values: Mapping[Link, V], token: int | None = None) -> None:
        if token is None:
            self._forget(values)
        if token is None and self._layers and self._layers[-1][0] is None:
            self._layers[-1][1].update(values)
        else:
            self._layers.append((token, dict(values)))
        self._evaluate()

    def holds(self, token: int) -> bool:
        """Whether anything set with this token is left."""
        return any(layer[0] == token for layer in self._layers)

    def lift(self, token: int) -> None:
        """Removes what was set with this token."""
        self._layers = [layer for layer in self._layers if layer[0] != token]
        self._evaluate()

    def _forget(self, values: Mapping[Link, V]) -> None:
        """Drops what these permanent values cover."""
        if ALL in values:
            self._layers.clear()
        for _, layer in self._layers:
            for link in values:
                layer.pop(link, None)
        self._layers = [layer for layer in self._layers if layer[1]]

    def _evaluate(self) -> None:
        self.general, self.own = self._initial, {}
        for _, layer in self._layers:
            if ALL in layer:
                self.general, self.own = layer[ALL], {}
            self.own.update((link, value) for link, value in layer.items() if link != ALL)
        self.own = {link: value for link, value in sorted(self.own.items()) if value != self.general}
