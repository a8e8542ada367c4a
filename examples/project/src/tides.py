"""Predict high water from harmonic constituents."""

import csv
import math
import sys
from datetime import datetime, timedelta, timezone

EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
STEP = timedelta(minutes=6)


def constituents(path):
    """Yield (amplitude in m, speed in degrees an hour, phase in degrees)."""
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            yield float(row["amplitude_m"]), float(row["speed_deg_h"]), float(row["phase_deg"])


def height(parts, when):
    # TODO: node factors; without them the error grows to a few centimetres over a year
    hours = (when - EPOCH).total_seconds() / 3600
    return sum(a * math.cos(math.radians(speed * hours - phase)) for a, speed, phase in parts)


def high_waters(parts, start, end):
    """Yield (time, height) of each local maximum between start and end."""
    before = height(parts, start - STEP)
    here = height(parts, start)
    when = start
    while when < end:
        after = height(parts, when + STEP)
        if before < here >= after:
            yield when, here
        before, here, when = here, after, when + STEP


def main():
    path, start, end = sys.argv[1:]
    day = lambda text: datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    parts = list(constituents(path))
    for when, metres in high_waters(parts, day(start), day(end)):
        # FIXME: rounds to six minutes; interpolate between the three samples
        print(f"{when:%Y-%m-%d %H:%M}  {metres:5.2f} m")


if __name__ == "__main__":
    main()
