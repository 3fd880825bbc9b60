#!/usr/bin/env bash
# The trials of a sweep as one SLURM array, a GPU each; from the checkout's folder:
#
#   .venv/bin/t2igan sweep --config=configs/NAME.py --workdir=DIR --print_commands >commands.txt
#   sbatch --array=1-"$(wc -l <commands.txt)" scripts/cluster/sweep_slurm_array.sh commands.txt
#   .venv/bin/t2igan sweep --config=configs/NAME.py --workdir=DIR --collect    # table and plot
#
# --array=1-64%8 runs 8 at a time. A trial that is stopped goes on where it was: submit again.
#SBATCH --job-name=t2igan-sweep
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%x-%A_%a.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "${BASH_SOURCE[0]}")/../..}"

commands=${1:-}
if [[ ! -f $commands || -z ${SLURM_ARRAY_TASK_ID:-} ]]; then
  echo "t2igan: error: usage: sbatch --array=1-N $0 COMMANDS.txt (one command a line)" >&2
  exit 2
fi
command=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$commands")
if [[ -z $command ]]; then
  echo "t2igan: error: $commands has no line $SLURM_ARRAY_TASK_ID;" \
    "its lines are --array=1-$(wc -l <"$commands")" >&2
  exit 2
fi
echo "$command"
PATH=$PWD/.venv/bin:$PATH

# Some minutes before its time is up SLURM tells this script, which tells the trial: it saves, and a
# new job goes on with it.
stopped=
trap 'stopped=1; kill -TERM "$child"' TERM
eval "srun $command &" # the words are quoted for a shell
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
