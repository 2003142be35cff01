#!/usr/bin/env bash
# One phase of the workflow for DVC: `bash workflow/phase.sh train --allowed-rules phase_train train`.
# DVC writes down the settings that it finds when the phase has ended. So the phase works on a copy of those at its start,
# and fails where they are others at its end.
set -euo pipefail
phase=$1
shift
settings=$(mktemp --suffix .yaml)
trap 'rm -f "$settings"' EXIT
cp params.yaml "$settings"
snakemake "phase_$phase" --cores all "$@" --configfile "$settings"
if ! cmp -s params.yaml "$settings"; then
  echo "params.yaml was edited while the phase '$phase' ran with the settings of its start, which DVC would not have" \
    "recorded. Run dvc repro again: it goes on with the new settings." >&2
  exit 1
fi
