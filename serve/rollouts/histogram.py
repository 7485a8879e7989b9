"""Histograms with a bounded number of buckets, whose width grows with the value: plain data that can be added up."""

from __future__ import annotations

import math

import msgspec

PER_OCTAVE_BITS = 4
"""16 buckets between a value and its double: a bucket's ends differ by 1/16 at the most."""

_PER_OCTAVE = 1 << PER_OCTAVE_BITS
LARGEST = (1 << 62) - 1
"""Larger values count as this."""


class Histogram(msgspec.Struct):
    """How often which whole numbers from 0 on were seen: bucket -> count. There are 960 buckets at the most, and values
    that differ by a factor of 1,000 fill some 160."""

    counts: dict[int, int] = {}

    @property
    def count(self) -> int:
        """All values."""
        return sum(self.counts.values())

    def add(self, value: int, times: int = 1) -> None:
        """One more value, or the same several times."""
        bucket = bucket_of(value)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + times

    def merge(self, other: Histogram) -> None:
        """Takes the values of another one in too."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def since(self, earlier: Histogram) -> Histogram:
        """What came after `earlier`, an older state of this one."""
        left = {bucket: count - earlier.counts.get(bucket, 0) for bucket, count in self.counts.items()}
        return Histogram({bucket: count for bucket, count in left.items() if count > 0})

    def quantile(self, share: float) -> float | None:
        """The value that `share` of all do not exceed, as the middle of its bucket; None where there is none."""
        total = self.count
        if not total:
            return None
        low, high = self.bounds_at_rank(max(math.ceil(share * total), 1))
        return (low + high) / 2

    def interval(self, share: float, deviations: float) -> tuple[float, float] | None:
        """Between what the true quantile lies, `deviations` standard deviations of its rank to either side; None where
        there are no values."""
        total = self.count
        if not total:
            return None
        spread = deviations * math.sqrt(total * share * (1 - share))
        low_rank, high_rank = math.floor(total * share - spread), math.ceil(total * share + spread)
        low = self.bounds_at_rank(low_rank)[0] if low_rank >= 1 else 0.0
        high = self.bounds_at_rank(high_rank)[1] if high_rank <= total else math.inf
        return low, high

    def bounds_at_rank(self, rank: int) -> tuple[float, float]:
        """The ends of the bucket that holds the `rank`th smallest value, from 1 on."""
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return bucket_bounds(bucket)
        raise ValueError("there are fewer values")


def bucket_of(value: int) -> int:
    """The bucket of a whole number."""
    if value < _PER_OCTAVE:
        return max(value, 0)
    shift = min(value, LARGEST).bit_length() - 1 - PER_OCTAVE_BITS
    return (shift << PER_OCTAVE_BITS) + (min(value, LARGEST) >> shift)


def bucket_bounds(bucket: int) -> tuple[float, float]:
    """The smallest number in a bucket, and the smallest above it."""
    if bucket < _PER_OCTAVE:
        return float(bucket), float(bucket + 1)
    shift = (bucket >> PER_OCTAVE_BITS) - 1
    mantissa = (bucket & (_PER_OCTAVE - 1)) + _PER_OCTAVE
    return float(mantissa << shift), float((mantissa + 1) << shift)
