# Four images from one file; `make image TARGET=…` builds them:
#   gateway     the gateway and the operator; small, no torch
#   engine-cpu  vLLM on a CPU
#   engine-gpu  vLLM on GPUs, on top of vLLM's own image
#   training    data preparation, fine-tuning, evaluation
#
# Each installs its own lock file with every hash checked, and compiles it to bytecode: that takes a third
# off the start of an engine (importing vLLM: 13.6 s without, 8.7 s with). Packages lie below the code, so a
# change of the code installs none anew. Processes run as user 10001, and with a read-only root file system:
# they write to /var/lib/slipway (home, caches, state) and /tmp, which are for the cluster to mount.

ARG BASE=python:3.12-slim
# The release of vLLM that locks/engine-gpu.txt names.
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0


# --- what builds, and is in no image ---------------------------------------------------------

FROM ${BASE} AS tools
# Certificates are those of the base image, so that one made for a network with an authority of its own works.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
COPY locks/uv.txt /opt/locks/uv.txt
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/python -m pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r /opt/locks/uv.txt

FROM tools AS wheel
ENV UV_CACHE_DIR=/cache/uv UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# What builds the wheel comes from the development lock, its hashes checked as well.
COPY locks/dev.txt locks/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY operator operator
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    /opt/uv/bin/uv build -q --wheel --build-constraints locks/dev.txt --require-hashes --out-dir /dist


# --- what gateway, engine on a CPU and training share -----------------------------------------

FROM ${BASE} AS runtime
# The user has a name because torch asks for it; the number lets a pod prove that it is not root.
RUN groupadd --gid 10001 slipway \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/slipway --shell /usr/sbin/nologin slipway \
 && install -d -o slipway -g slipway -m 0755 /var/lib/slipway
ENV PATH=/opt/slipway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/var/lib/slipway \
    XDG_CACHE_HOME=/var/lib/slipway/cache \
    SLIPWAY_CACHE=/var/lib/slipway/cache/slipway \
    SLIPWAY_STATE=/var/lib/slipway/state \
    VLLM_CACHE_ROOT=/var/lib/slipway/cache/vllm \
    HF_HOME=/var/lib/slipway/cache/huggingface
WORKDIR /var/lib/slipway
ENTRYPOINT ["slipway"]


# --- gateway and operator --------------------------------------------------------------------

FROM runtime AS gateway
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_CACHE_DIR=/cache/uv
ARG UV_LINK_MODE=copy
ARG UV_PYTHON_DOWNLOADS=never
COPY locks/gateway.txt /opt/locks/gateway.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,id=slipway-uv,target=/cache/uv \
    /opt/uv/bin/uv venv -q --python "$(command -v python3)" /opt/slipway \
 && /opt/uv/bin/uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /opt/locks/gateway.txt
COPY --from=wheel /dist /opt/dist
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python /opt/dist/*.whl
# Inside a container, listening on loopback alone would reach nobody.
ENV SLIPWAY_GATEWAY_HOST=0.0.0.0
EXPOSE 8000
USER 10001:10001
VOLUME /var/lib/slipway
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SLIPWAY_GATEWAY_PORT', '8000')), timeout=4); c.request('GET', '/livez'); sys.exit(c.getresponse().status != 200)"]
CMD ["gateway"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-gateway" \
      org.opencontainers.image.description="Slipway's OpenAI-compatible gateway and its operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- engine on a CPU -------------------------------------------------------------------------

FROM runtime AS engine-cpu
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_CACHE_DIR=/cache/uv
ARG UV_LINK_MODE=copy
ARG UV_PYTHON_DOWNLOADS=never
# Without libnuma, vLLM's own library does not load, and it says so only when a model is to be loaded.
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends libnuma1 \
 && rm -rf /var/lib/apt/lists/*
COPY locks/engine-cpu.txt /opt/locks/engine-cpu.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,id=slipway-uv,target=/cache/uv \
    /opt/uv/bin/uv venv -q --python "$(command -v python3)" /opt/slipway \
 && /opt/uv/bin/uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /opt/locks/engine-cpu.txt
COPY --from=wheel /dist /opt/dist
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python /opt/dist/*.whl
EXPOSE 8001
USER 10001:10001
VOLUME /var/lib/slipway
CMD ["engine", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-engine-cpu" \
      org.opencontainers.image.description="Slipway's engine: vLLM on a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- engine on GPUs --------------------------------------------------------------------------
# Needs vLLM's image, which holds CUDA, vLLM and their tested versions; where it cannot be pulled, this
# target cannot be built. What `slipway engine` needs beyond it goes into an environment beside it that sees
# it: packages that the image has stay as they are, the others come from the lock.

FROM ${VLLM_IMAGE} AS engine-gpu
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_LINK_MODE=copy
ARG UV_CACHE_DIR=/cache/uv
ARG UV_PYTHON_DOWNLOADS=never
RUN groupadd --gid 10001 slipway \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/slipway --shell /usr/sbin/nologin slipway \
 && install -d -o slipway -g slipway -m 0755 /var/lib/slipway
COPY scripts/lacking locks/engine-gpu.txt /opt/locks/
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,id=slipway-uv,target=/cache/uv \
    python3 -c 'import importlib.metadata as m; print("vLLM", m.version("vllm"))' \
 && python3 /opt/locks/lacking /opt/locks/engine-gpu.txt > /opt/locks/installed.txt \
 && python3 -m venv --without-pip --system-site-packages /opt/slipway \
 && /opt/uv/bin/uv pip install -q --no-deps --compile-bytecode --require-hashes --python /opt/slipway/bin/python -r /opt/locks/installed.txt
COPY --from=wheel /dist /opt/dist
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python /opt/dist/*.whl
ENV PATH=/opt/slipway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    HOME=/var/lib/slipway \
    XDG_CACHE_HOME=/var/lib/slipway/cache \
    SLIPWAY_CACHE=/var/lib/slipway/cache/slipway \
    SLIPWAY_STATE=/var/lib/slipway/state \
    VLLM_CACHE_ROOT=/var/lib/slipway/cache/vllm \
    HF_HOME=/var/lib/slipway/cache/huggingface
WORKDIR /var/lib/slipway
EXPOSE 8001
USER 10001:10001
VOLUME /var/lib/slipway
ENTRYPOINT ["slipway"]
CMD ["engine", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-engine-gpu" \
      org.opencontainers.image.description="Slipway's engine: vLLM on GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- training --------------------------------------------------------------------------------

FROM runtime AS training
ARG SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ARG UV_CACHE_DIR=/cache/uv
ARG UV_LINK_MODE=copy
ARG UV_PYTHON_DOWNLOADS=never
COPY locks/training.txt /opt/locks/training.txt
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    --mount=type=cache,id=slipway-uv,target=/cache/uv \
    /opt/uv/bin/uv venv -q --python "$(command -v python3)" /opt/slipway \
 && /opt/uv/bin/uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /opt/locks/training.txt
COPY --from=wheel /dist /opt/dist
RUN --mount=type=bind,from=tools,source=/opt/uv,target=/opt/uv \
    /opt/uv/bin/uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python /opt/dist/*.whl
USER 10001:10001
VOLUME /var/lib/slipway
CMD ["--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-training" \
      org.opencontainers.image.description="Slipway's training jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
