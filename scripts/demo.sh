#!/usr/bin/env bash
# Train a tiny model on the text that Python carries, and let it answer. All set-up is done on the way.
#
#   scripts/demo.sh            a RoBERTa that fills masks (mlm)
#   scripts/demo.sh clm        a Llama-style model that continues a text
#
# Further arguments go to train.py: scripts/demo.sh mlm --seed 2. An interrupted demo goes on where it stopped,
# a finished one starts a new run.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

objective="${1:-mlm}"
case "$objective" in
  mlm) config=configs/demo.yml ;;
  clm) config=configs/demo-clm.yml ;;
  *)
    printf "error: there is no demo '%s': it is mlm or clm\n" "$objective" >&2
    exit 2
    ;;
esac
if [ $# -gt 0 ]; then shift; fi

scripts/setup.sh

if [ ! -f data/demo/train.txt ] || [ ! -f data/demo/dev.txt ]; then
  .venv/bin/python -m dlib.data.demo_corpus data/demo
fi

name="demo-$objective"
number=1
while grep -qs '"finished"' "runs/$name/status.json"; do
  number=$((number + 1))
  name="demo-$objective-$number"
done

.venv/bin/python train.py --config_path "$config" -n "$name" --offline "$@"
exec .venv/bin/python -m dlib.demo "runs/$name"
