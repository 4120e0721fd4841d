# Four images from one file; `make image TARGET=…` builds them:
#   gateway     the gateway and the operator; small, no torch
#   engine-cpu  vLLM on a CPU
#   engine-gpu  vLLM on GPUs, on top of vLLM's own image
#   training    data preparation, fine-tuning, evaluation
# and `make sbom TARGET=…` writes down the Python packages of one (target `sbom`).
#
# Each installs its own lock file with every hash checked, and compiles it to bytecode: that takes a third
# off the start of an engine (importing vLLM: 13.6 s without, 8.7 s with). Packages lie below the code, so a
# change of the code installs none anew. Processes run as user 10001, and with a read-only root file system:
# they write to /var/lib/slipway (home, caches, state) and /tmp, which are for the cluster to mount.

ARG BASE=python:3.12-slim
# The release of vLLM that locks/engine-gpu.txt names.
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0
# The target whose packages the target `sbom` lists.
ARG SBOM_OF=gateway


# --- what builds, and is in no image ---------------------------------------------------------

FROM ${BASE} AS tools
# Certificates are those of the base image, so that one made for a network with an authority of its own works.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_CACHE_DIR=/cache/uv \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never
COPY locks/uv.txt /locks/uv.txt
RUN python3 -m venv /opt/uv \
 && /opt/uv/bin/python -m pip install -q --no-cache-dir --disable-pip-version-check --require-hashes -r /locks/uv.txt
ENV PATH=/opt/uv/bin:$PATH

FROM tools AS wheel
WORKDIR /src
# What builds the wheel comes from the development lock, its hashes checked as well.
COPY locks/dev.txt locks/dev.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY operator operator
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    uv build -q --wheel --build-constraints locks/dev.txt --require-hashes --out-dir /dist

# Slipway itself, as a tree to be laid over an environment at /opt/slipway.
FROM wheel AS code
RUN uv venv -q --python python3 /opt/slipway \
 && uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python --prefix /code /dist/*.whl


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
# The operator is the same image with the command `python -m slipway_operator`. It answers /livez, /readyz and
# /metrics on port 9090; a cluster's probes ask it there. The health check below is the gateway's.

FROM tools AS gateway-packages
COPY locks/gateway.txt /locks/gateway.txt
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    uv venv -q --python python3 /opt/slipway \
 && uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /locks/gateway.txt

FROM runtime AS gateway
COPY --from=gateway-packages /opt/slipway /opt/slipway
COPY --from=code /code /opt/slipway
# Inside a container, listening on loopback alone would reach nobody.
ENV SLIPWAY_GATEWAY_HOST=0.0.0.0
EXPOSE 8000 9090
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

FROM tools AS engine-cpu-packages
COPY locks/engine-cpu.txt /locks/engine-cpu.txt
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    uv venv -q --python python3 /opt/slipway \
 && uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /locks/engine-cpu.txt

FROM runtime AS engine-cpu
# Without libnuma, vLLM's own library does not load, and it says so only when a model is to be loaded.
# tini takes up the worker that vLLM's engine core leaves behind when it ends: process 1 that does not wait
# for such a child makes vLLM's stop fail, and a drained engine would end with 1 instead of 0.
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends libnuma1 tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=engine-cpu-packages /opt/slipway /opt/slipway
COPY --from=code /code /opt/slipway
EXPOSE 8001
USER 10001:10001
VOLUME /var/lib/slipway
ENTRYPOINT ["tini", "--", "slipway"]
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
# target is not built. What `slipway engine` needs beyond it goes into an environment beside it that sees
# it: packages that the image has stay as they are, the others come from the lock.

FROM ${VLLM_IMAGE} AS engine-gpu-packages
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_CACHE_DIR=/cache/uv UV_LINK_MODE=copy
COPY --from=tools /opt/uv/bin/uv /opt/uv/bin/uv
COPY scripts/lacking locks/engine-gpu.txt /locks/
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    python3 -c 'import importlib.metadata as m; print("vLLM", m.version("vllm"))' \
 && python3 /locks/lacking /locks/engine-gpu.txt > /locks/lacking.txt \
 && python3 -m venv --without-pip --system-site-packages /opt/slipway \
 && /opt/uv/bin/uv pip install -q --no-deps --compile-bytecode --require-hashes --python /opt/slipway/bin/python -r /locks/lacking.txt

FROM engine-gpu-packages AS engine-gpu-code
COPY --from=wheel /dist /dist
RUN /opt/uv/bin/uv pip install -q --no-cache --no-index --no-deps --compile-bytecode --python /opt/slipway/bin/python --prefix /code /dist/*.whl

FROM ${VLLM_IMAGE} AS engine-gpu
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*
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
ENTRYPOINT ["tini", "--", "slipway"]
COPY --from=engine-gpu-packages /opt/slipway /opt/slipway
COPY --from=engine-gpu-code /code /opt/slipway
EXPOSE 8001
USER 10001:10001
VOLUME /var/lib/slipway
CMD ["engine", "--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-engine-gpu" \
      org.opencontainers.image.description="Slipway's engine: vLLM on GPUs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- training --------------------------------------------------------------------------------

FROM tools AS training-packages
COPY locks/training.txt /locks/training.txt
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    uv venv -q --python python3 /opt/slipway \
 && uv pip sync -q --compile-bytecode --require-hashes --python /opt/slipway/bin/python /locks/training.txt

FROM runtime AS training
RUN apt-get update -qq \
 && apt-get install -qq -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*
COPY --from=training-packages /opt/slipway /opt/slipway
COPY --from=code /code /opt/slipway
USER 10001:10001
VOLUME /var/lib/slipway
ENTRYPOINT ["tini", "--", "slipway"]
CMD ["--help"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="slipway-training" \
      org.opencontainers.image.description="Slipway's training jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# --- what is in an image ---------------------------------------------------------------------
# A CycloneDX list of the Python packages that are installed in an image, with the hashes of its lock. The
# tool that makes it is put beside the packages of a copy, and is in no image.

FROM ${SBOM_OF} AS sbom-made
ARG SBOM_OF
USER 0:0
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt UV_CACHE_DIR=/cache/uv UV_LINK_MODE=copy
COPY --from=tools /opt/uv/bin/uv /opt/uv/bin/uv
COPY scripts/sbom-hashes locks/sbom.txt locks/${SBOM_OF}.txt /sbom/
RUN --mount=type=cache,id=slipway-uv,target=/cache/uv \
    /opt/uv/bin/uv venv -q --python /opt/slipway/bin/python /opt/sbom \
 && /opt/uv/bin/uv pip sync -q --compile-bytecode --require-hashes --python /opt/sbom/bin/python /sbom/sbom.txt
WORKDIR /sbom
RUN /opt/sbom/bin/cyclonedx-py environment --output-reproducible -o installed.json /opt/slipway/bin/python \
 && /opt/sbom/bin/cyclonedx-py requirements --output-reproducible -o lock.json ${SBOM_OF}.txt \
 && python3 sbom-hashes installed.json lock.json > sbom.json

FROM scratch AS sbom
COPY --from=sbom-made /sbom/sbom.json /
