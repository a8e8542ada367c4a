#!/bin/sh
# Prints today's high waters.
set -eu
here=$(dirname "$0")
exec python3 "$here/tides.py" "$here/../data/constituents.csv" "$(date -u +%F)" "$(date -u -d tomorrow +%F)"
