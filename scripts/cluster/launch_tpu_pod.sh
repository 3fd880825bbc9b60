#!/usr/bin/env bash
# Trains on every host of a Cloud TPU slice: copies this checkout there, makes the environment, and
# starts the same command on all hosts, which find each other by themselves.
#
#   TPU_NAME=my-pod ZONE=us-central2-b scripts/cluster/launch_tpu_pod.sh \
#     --config=configs/coco_stage1.py --workdir=/mnt/nfs/runs/coco --config.data.dir=/mnt/nfs/coco
#
# All words go to `t2igan train`. Data set and workdir lie where all hosts see them (a mounted
# Filestore or NFS). Run again after a preemption, it resumes. PROJECT names another gcloud project.
# Needs: gcloud, logged in; Python 3.11 to 3.13 on the hosts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $# -eq 0 || -z ${TPU_NAME:-} || -z ${ZONE:-} ]]; then
  echo "t2igan: error: usage: TPU_NAME=NAME ZONE=ZONE $0 --config=... --workdir=..." >&2
  exit 2
fi
if ! command -v gcloud >/dev/null; then
  echo "t2igan: error: gcloud is not here; install it: https://cloud.google.com/sdk" >&2
  exit 2
fi

where=(--zone="$ZONE" --worker=all)
if [[ -n ${PROJECT:-} ]]; then
  where+=(--project="$PROJECT")
fi

bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
git archive --format=tar.gz --output="$bundle/t2igan.tar.gz" HEAD
if [[ -n $(git status --porcelain --untracked-files=no) ]]; then
  echo "Only what is committed goes to the hosts; this checkout has changes that are not." >&2
fi

# Quoted here once, so that a word with spaces or quotes arrives on the hosts as it was typed.
flags=$(printf ' %q' "$@")
remote="set -e
mkdir -p t2igan && tar -xzf t2igan.tar.gz -C t2igan && cd t2igan
scripts/environment
.venv/bin/python -m pip install --quiet --editable '.[tpu]'
exec .venv/bin/python -P -m t2igan train$flags"

gcloud compute tpus tpu-vm scp "$bundle/t2igan.tar.gz" "$TPU_NAME:t2igan.tar.gz" "${where[@]}"
gcloud compute tpus tpu-vm ssh "$TPU_NAME" "${where[@]}" --command="$remote"
