"""The sum over all gateways of what they have counted. It becomes no less while gateways and controllers come and go.

Gateways that have gone count on. What they had counted is given to those that live, as their estate, and these bring it
to a controller that starts anew: it would otherwise begin below what Prometheus has seen, which takes that for so many
new requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from serve.metrics.counts import GatewayCounts, Present, Refusals, VersionCounts, VersionReport
from serve.routing import VersionKey

MOST_GONE = 16
"""Gateways that have gone whose figures are kept apart, since they may only have been silent; those of earlier ones are
one sum. Each takes 2 KB for a version."""

FORGOTTEN_AFTER_S = 600.0
"""How long a version's figures stay that desired state does not have any more: Prometheus is to see the last of
them."""


class Parts(msgspec.Struct):
    """All that a sum is made of: not copied, and not written into by anybody."""

    versions: list[tuple[VersionKey, VersionCounts]] = []
    refusals: list[Refusals] = []

    def total(self) -> Total:
        """The sum."""
        total = Total()
        for key, counts in self.versions:
            total.versions.setdefault(key, VersionCounts()).merge(counts)
        for refusals in self.refusals:
            for refused, count in refusals.items():
                total.refusals[refused] = total.refusals.get(refused, 0) + count
        return total


class Total(msgspec.Struct):
    """Counts of versions and of what was refused, over several gateways."""

    versions: dict[VersionKey, VersionCounts] = {}
    refusals: Refusals = {}

    def add_to(self, parts: Parts) -> None:
        """Makes it part of another sum."""
        parts.versions += self.versions.items()
        parts.refusals.append(self.refusals)

    def forget(self, key: VersionKey) -> None:
        """Leaves a version out."""
        self.versions.pop(key, None)


GATHERING_S = 10.0
"""How long an heir waits for gateways that lived: they find out within five seconds that the controller is another."""


class _Gateway:
    """The newest that a gateway has said; `ended` is of earlier lives of versions there."""

    def __init__(self) -> None:
        self.versions: dict[VersionKey, VersionReport] = {}
        self.ended: dict[VersionKey, VersionCounts] = {}
        self.refusals: Refusals = {}
        self.present: list[Present] = []
        self.memory_bytes = 0

    def hear(self, counts: GatewayCounts) -> None:
        for report in counts.versions:
            key = (report.model, report.version)
            before = self.versions.get(key)
            if before is not None and before.life != report.life:
                ended = [(key, before.counts)]
                if key in self.ended:
                    ended.append((key, self.ended[key]))
                self.ended |= Parts(ended).total().versions
            self.versions[key] = report
        if counts.refusals is not None:
            self.refusals = counts.refusals
        self.present, self.memory_bytes = counts.present, counts.memory_bytes

    def add_to(self, parts: Parts) -> None:
        parts.versions += self.ended.items()
        parts.versions += ((key, report.counts) for key, report in self.versions.items())
        parts.refusals.append(self.refusals)

    def forget(self, key: VersionKey) -> None:
        self.versions.pop(key, None)
        self.ended.pop(key, None)


class Estate(msgspec.Struct, frozen=True):
    """What gateways that have gone had counted, and which others lived then. Of two the one with the larger number is
    the newer one; 0 is none."""

    number: int = 0
    counts: bytes = b""
    living: frozenset[str] = frozenset()


NO_ESTATE = Estate()


class Ledger:
    """The controller's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, number: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._number = number
        self._gateways: dict[str, _Gateway] = {}
        self._living: frozenset[str] = frozenset()
        self._earlier = Total()
        """Of gateways that are not kept apart, an earlier controller's among them."""
        self._inherited = NO_ESTATE
        self._inherited_at = 0.0
        self._names: dict[VersionKey, str] = {}
        self._seen_at: dict[VersionKey, float] = {}
        self.estate = NO_ESTATE

    def hear(self, gateway: str, counts: GatewayCounts, *, everything: bool = True) -> None:
        """A gateway's newest figures. The first must be `everything`: others say nothing without it, and it follows."""
        if not everything and gateway not in self._gateways:
            return
        self._gateways.setdefault(gateway, _Gateway()).hear(counts)
        for report in counts.versions:
            self._seen_at.setdefault((report.model, report.version), self._clock())

    def inherit(self, estate: Estate) -> None:
        """What an earlier controller had given to a gateway; the newest counts."""
        if estate.number > self._inherited.number:
            self._inherited, self._inherited_at = estate, self._clock()
            self._earlier = msgspec.msgpack.decode(estate.counts, type=Total)
            self._seen_at = dict.fromkeys(self._earlier.versions, self._clock()) | self._seen_at
            self._settle()

    @property
    def is_whole(self) -> bool:
        """Whether all gateways that lived under an earlier controller have told what they counted, or are long due."""
        waiting = self._inherited.living - self._gateways.keys()
        return not waiting or self._clock() - self._inherited_at > GATHERING_S

    def follow(self, living: Collection[str], names: Mapping[VersionKey, str]) -> None:
        """Which gateways live, and all versions that there are, with what clients call them by."""
        self._forget(names)
        if (alive := frozenset(living)) != self._living:
            self._living = alive
            self._settle()

    def _settle(self) -> None:
        """Makes the estate of who has gone."""
        gone = [name for name in self._gateways if name not in self._living]
        for name in gone[:-MOST_GONE]:
            parts = self._parts(())
            self._gateways.pop(name).add_to(parts)
            self._earlier = parts.total()
        total = self._parts(gone[-MOST_GONE:]).total()
        number = max(self._number(), self._inherited.number + 1)
        self.estate = Estate(number, msgspec.msgpack.encode(total), self._living)

    def _forget(self, names: Mapping[VersionKey, str]) -> None:
        now = self._clock()
        self._names |= names
        self._seen_at |= dict.fromkeys(names, now)
        for key in [key for key, seen_at in self._seen_at.items() if now - seen_at > FORGOTTEN_AFTER_S]:
            del self._seen_at[key]
            self._names.pop(key, None)
            self._earlier.forget(key)
            for gateway in self._gateways.values():
                gateway.forget(key)

    def parts(self) -> Parts:
        """All that was counted, to be added up anywhere."""
        return self._parts(self._gateways)

    def _parts(self, gateways: Iterable[str]) -> Parts:
        parts = Parts()
        self._earlier.add_to(parts)
        for name in gateways:
            self._gateways[name].add_to(parts)
        return parts

    def present(self) -> dict[VersionKey, Present]:
        """What there is of each version now, over the gateways that live."""
        found: dict[VersionKey, Present] = {}
        for gateway in self._living & self._gateways.keys():
            for each in self._gateways[gateway].present:
                of_all = found.setdefault((each.model, each.version), Present(each.model, each.version, 0, 0))
                of_all.in_flight += each.in_flight
                of_all.waiting_rows += each.waiting_rows
        return found

    def memory_bytes(self) -> dict[str, int]:
        """What each gateway that lives takes."""
        return {
            gateway: self._gateways[gateway].memory_bytes for gateway in sorted(self._living & self._gateways.keys())
        }

    def called(self, present: Collection[VersionKey]) -> dict[VersionKey, str]:
        """What clients call versions by: those that are `present`, and those that were, unless another has the name
        now."""
        called = {key: self._names[key] for key in present if key in self._names}
        taken = {(key[0], name) for key, name in called.items()}
        for key, name in self._names.items():
            if key not in called and (key[0], name) not in taken:
                called[key] = name
                taken.add((key[0], name))
        return called
