# The image: the environment in /opt/dlib, the code in /workspace.
#
#   docker build -t dlib .                       from conda-lock.yml, with CUDA; ppc64le.conda-lock.yml on Power
#   docker build --target pip -t dlib:cpu .      from requirements.lock, for CPU: smaller, for laptops and CI
#   docker build --target pip --build-arg TORCH=cuda -t dlib:cuda .     the same with PyTorch's own CUDA
#
# No conda lock is for linux/arm64 (an Apple laptop): the first command builds the second image there.

ARG BASE_IMAGE=debian:12.12-slim
ARG MICROMAMBA_IMAGE=mambaorg/micromamba:2.5.0
# cpu or cuda: the build of PyTorch in the target pip.
ARG TORCH=cpu

# hadolint ignore=DL3006
FROM ${MICROMAMBA_IMAGE} AS micromamba

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS tools
# Compilers: torch.compile builds C++ for the CPU and a C launcher for the GPU. Versions are those of Debian's release.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates g++ gcc git libc6-dev tini
# Ubuntu has a user 1000 already: it gets our name. Any user may write the home, and the places where caches are mounted;
# a mounted repository may belong to another one. A login shell would set PATH anew.
RUN if owner="$(id -un 1000 2>/dev/null)"; then \
      groupmod --new-name dlib "$(id -gn 1000)" && usermod --login dlib --home /home/dlib "$owner"; \
    else useradd --uid 1000 --no-create-home dlib; fi \
 && install -d -o dlib -g dlib -m 1777 /home/dlib /home/dlib/.cache /home/dlib/.cache/huggingface \
      /home/dlib/.cache/wandb /workspace \
 && git config --system safe.directory /workspace \
 && echo "PATH=/opt/dlib/bin:\$PATH" >/etc/profile.d/dlib.sh
COPY scripts/entrypoint.sh /usr/local/bin/dlib-entrypoint
# These alone make the environment: `srun` and `docker exec` start programs without entry point or login shell.
ENV PATH=/opt/dlib/bin:$PATH DLIB_PYTHON=/opt/dlib/bin/python HOME=/home/dlib LANG=C.UTF-8
WORKDIR /workspace
ENTRYPOINT ["tini", "-s", "--", "dlib-entrypoint"]
CMD ["bash"]
LABEL org.opencontainers.image.title="dlib" \
      org.opencontainers.image.description="A template for training language models, with its environment" \
      org.opencontainers.image.licenses="MIT"

FROM tools AS python
# torch.compile includes Python's headers.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
    apt-get update \
 && apt-get install --yes --no-install-recommends libpython3-dev python3 python3-venv \
 && rm -r /usr/lib/python3*/config-*/*.a

# The script that makes .venv on a laptop makes this one; PyTorch's own tests (130 MB of programs) are left out.
FROM python AS pip-environment
ARG TORCH
WORKDIR /opt/environment
COPY requirements.lock ./
COPY scripts/setup.sh scripts/
RUN --mount=type=cache,target=/home/dlib/.cache/pip --mount=type=cache,target=/home/dlib/.cache/uv \
    DLIB_PYTHON="" TORCH="$TORCH" scripts/setup.sh \
 && ln -s /opt/environment/.venv /opt/dlib \
 && rm -rf .venv/lib/python3*/site-packages/torch/test \
 && find .venv/lib/python3*/site-packages/torch/bin -type f -iname '*test*' -delete

FROM tools AS conda-environment
COPY --from=micromamba /bin/micromamba /usr/local/bin/
COPY conda-lock.yml ppc64le.conda-lock.yml /opt/
ARG TARGETARCH
# The cache is another file system, where packages cannot be linked from. There is no driver here to tell the version
# of CUDA.
RUN --mount=type=cache,target=/var/cache/micromamba,sharing=locked \
    case "$TARGETARCH" in \
      amd64) lock=conda-lock.yml cuda=12.9 ;; \
      ppc64le) lock=ppc64le.conda-lock.yml cuda=11.8 ;; \
      *) echo "error: no conda lock is for linux/$TARGETARCH: build with --target pip" >&2; exit 2 ;; \
    esac \
 && CONDA_OVERRIDE_CUDA="$cuda" MAMBA_ROOT_PREFIX=/var/cache/micromamba \
    micromamba create --yes --always-copy --prefix /opt/dlib --file "/opt/$lock" \
 && find /opt/dlib -name '*.a' -delete

FROM python AS pip-cpu
FROM python AS pip-cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

# hadolint ignore=DL3006
FROM pip-${TORCH} AS pip
COPY --from=pip-environment /opt /opt
COPY --chown=dlib:dlib . /workspace
USER 1000:1000
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.version="$VERSION" org.opencontainers.image.revision="$REVISION"

FROM tools AS conda
COPY --from=conda-environment /opt/dlib /opt/dlib
# What NVIDIA's container runtimes, enroot's among them, show of the machine. `docker run` needs --gpus all the same.
ENV CONDA_PREFIX=/opt/dlib NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility PYTHONNOUSERSITE=1
COPY --chown=dlib:dlib . /workspace
USER 1000:1000
ARG VERSION=development
ARG REVISION=unknown
LABEL org.opencontainers.image.version="$VERSION" org.opencontainers.image.revision="$REVISION"

FROM conda AS full-amd64
FROM conda AS full-ppc64le
FROM pip AS full-arm64
# hadolint ignore=DL3006
FROM full-${TARGETARCH} AS full
