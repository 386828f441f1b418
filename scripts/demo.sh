#!/usr/bin/env bash
# Train a tiny model on the text that Python carries, and let it answer. All set-up is done on the way.
#
#   scripts/demo.sh            a RoBERTa that fills masks (mlm)
#   scripts/demo.sh clm        a Llama-style model that continues a text
#
# Further arguments go to train.py: scripts/demo.sh --seed 2, scripts/demo.sh clm --seed 2. An interrupted demo goes on
# where it stopped, a finished one starts a new run.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'error: %s\n' "$1" >&2
  exit 2
}

objective=mlm
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
  objective="$1"
  shift
fi
case "$objective" in
  mlm) config=configs/demo.yml ;;
  clm) config=configs/demo-clm.yml ;;
  *) fail "there is no demo '$objective': it is mlm or clm" ;;
esac
for argument in "$@"; do
  case "$argument" in
    -n* | --name | --name=* | --out[-_]dir | --out[-_]dir=*)
      fail "$argument: a demo names its own run, in runs/; choose both with train.py --config_path $config"
      ;;
  esac
done

scripts/setup.sh
python="${DLIB_PYTHON:-.venv/bin/python}"

if [ ! -f data/demo/train.txt ] || [ ! -f data/demo/dev.txt ]; then
  "$python" -m dlib.demo.corpus data/demo
fi

name="demo-$objective"
number=1
while grep -qs '"finished"' "runs/$name/status.json"; do
  number=$((number + 1))
  name="demo-$objective-$number"
done

"$python" train.py --config_path "$config" -n "$name" --offline "$@"
exec "$python" -m dlib.demo "runs/$name"
