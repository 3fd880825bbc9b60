#!/usr/bin/env bash
# Trains on GPUs of a SLURM cluster, one process a GPU; from the checkout's folder:
#
#   scripts/environment && .venv/bin/python -m pip install --editable '.[cuda12]'
#   sbatch --nodes=2 scripts/cluster/launch_slurm.sh \
#     --config=configs/coco_stage1.py --workdir=/shared/runs/coco --config.data.dir=/shared/coco
#
# All words go to `t2igan train`. What is set below is changed on sbatch's command line: --nodes,
# --gpus-per-node with the same --ntasks-per-node, --time. The processes find each other by SLURM's
# variables. JAX takes the GPU of a task's number on its node: every task has to see all GPUs of its
# node, so --gpus-per-task, which hides them, must not be given.
#SBATCH --job-name=t2igan
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/../..}"

if [[ $# -eq 0 ]]; then
  echo "t2igan: error: usage: sbatch $0 --config=... --workdir=..." >&2
  exit 2
fi
if [[ ! -x .venv/bin/python ]]; then
  echo "t2igan: error: $PWD has no .venv; run scripts/environment there first" >&2
  exit 2
fi

# Some minutes before its time is up SLURM tells this script, which tells the run: it saves, and a
# new job goes on with it.
stopped=
trap 'stopped=1; kill -TERM "$child"' TERM
srun --kill-on-bad-exit=1 .venv/bin/python -P -m t2igan train "$@" &
child=$!
status=0
while kill -0 "$child" 2>/dev/null; do # a signal ends `wait`, not the child
  status=0
  wait "$child" || status=$?
done
if [[ -n $stopped && -n ${SLURM_JOB_ID:-} ]]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
