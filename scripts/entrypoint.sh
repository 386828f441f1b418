#!/bin/sh
# The entry point of the image. PATH and all else are variables of the image, which are there without it too
# (`docker exec`, `srun --container-image`); this gives a name to a user whom the image does not know (docker --user),
# as torch.compile and W&B ask for one.
if ! id -un >/dev/null 2>&1; then
  LOGNAME="${LOGNAME:-uid-$(id -u)}"
  USER="${USER:-$LOGNAME}"
  export LOGNAME USER
fi
exec "$@"
