# The product as one image: service, jobs, MLflow's gate, and the nodes of a Ray cluster. docs/operations.md says
# how to build and run it; `make image-test` builds it and tries it out.
#
# BASE_IMAGE: anything with apt and Python 3.11, or a python3.11 in its archive: python:3.11-slim-bookworm, Debian 12.
# An image of CUDA is not needed: the wheels bring its libraries, the node brings the driver.
ARG BASE_IMAGE=python:3.11-slim-bookworm
# cpu: nothing that a GPU alone would use. cuda: everything.
ARG VARIANT=cpu


FROM ${BASE_IMAGE} AS base
# bash, wget and grep: KubeRay asks a node with them whether it is well. libexpat1: GDAL. What installs is not shipped,
# and the official images of Python bring a pip; the stage that builds makes its own.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash ca-certificates grep libexpat1 wget \
    && { command -v python3.11 || apt-get install --yes --no-install-recommends python3.11; } \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
       /usr/local/bin/pip* /usr/local/lib/python3.11/site-packages/pip*


FROM base AS build
# where packages come from, as pip's own variables say it; the lock's hashes hold wherever that is
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
ARG VARIANT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# for stand_ins.py and strip_symbols.py; Debian keeps what makes virtual environments apart
RUN apt-get update \
    && apt-get install --yes --no-install-recommends binutils gcc \
    && { python3.11 -c 'import ensurepip' || apt-get install --yes --no-install-recommends python3.11-venv; }
# pip stays outside of the environment that is shipped
RUN python3.11 -m venv /build/tools && python3.11 -m venv --without-pip /opt/icss
WORKDIR /build
COPY requirements-runtime.lock k8s/image/ ./
RUN set -eu; \
    pip="/build/tools/bin/pip --python /opt/icss/bin/python"; \
    site_packages=/opt/icss/lib/python3.11/site-packages; \
    $pip install --progress-bar off --no-compile --require-hashes --no-deps --requirement requirements-runtime.lock; \
    if [ "$VARIANT" = cpu ]; then $pip uninstall --yes --requirement not-on-a-cpu.txt; fi; \
    python3.11 trim.py "$site_packages" "$VARIANT"; \
    if [ "$VARIANT" = cpu ]; then python3.11 stand_ins.py "$site_packages"; fi; \
    python3.11 strip_symbols.py "$site_packages"
COPY pyproject.toml README.md ./
COPY icss_core ./icss_core
COPY services ./services
# Bytecode comes with the image: a process that may not write it compiles all that it imports anew, nine seconds of a
# core for a job. "unchecked": it holds whatever times the files have in a layer. -x: what nobody imports, 65 MB.
RUN /build/tools/bin/pip --python /opt/icss/bin/python install --no-compile --no-deps --no-build-isolation . \
    && /opt/icss/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
       -x '/(databricks|fontTools|networkx|sklearn|sympy/physics|torch/_inductor|torch/testing|ray/llm)/' /opt/icss/lib


FROM base AS base-cpu
# a GPU that the node has all the same is not looked for
ENV CUDA_VISIBLE_DEVICES=""

FROM base AS base-cuda
# what the container runtime of NVIDIA mounts from the node: the driver, and nvidia-smi
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility


FROM base-${VARIANT}
ARG BASE_IMAGE
ARG VARIANT
ARG VERSION=0.1.0
# the commit, which an image without git cannot find out: --build-arg REVISION="$(git rev-parse HEAD)"
ARG REVISION=""
LABEL org.opencontainers.image.title="icss" \
      org.opencontainers.image.description="Teach a segmentation network new classes from a few clicks" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      icss.variant="${VARIANT}"
# programs that ask who they are get an answer
RUN groupadd --gid 10001 icss \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin icss
COPY --from=build /opt/icss /opt/icss
COPY tune_specs /app/tune_specs
# Nothing is written outside of /tmp: the root can be read-only. Ray's own folder is /tmp/ray.
ENV PATH=/opt/icss/bin:${PATH} \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=icss \
    TMPDIR=/tmp \
    CPL_TMPDIR=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    ICSS_CACHE_DIR=/tmp/icss-cache
# As icss_core/raster/environment.py sets them while a raster is read, here for all of GDAL, and for pyogrio's copy
# of it: no address is fetched, and a truncated PNG is noticed.
ENV CPL_VSIL_CURL_ALLOWED_FILENAME=none \
    GDAL_PNG_WHOLE_IMAGE_OPTIM=NO \
    PROJ_NETWORK=OFF
# Memory that one thread gives back serves all. Otherwise each has its own, which goes back to the system after every
# layer of a network that does not run in the main thread: 300 MB of page faults for a map of 768 x 768 pixels
ENV MALLOC_ARENA_MAX=1
# neither Ray nor MLflow reports to its makers
ENV RAY_USAGE_STATS_ENABLED=0 \
    MLFLOW_DISABLE_TELEMETRY=true
ENV ICSS_REVISION=${REVISION} \
    ICSS_API_HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
EXPOSE 8000
# for a plain `docker run` of the service; a cluster has its own probes, and KubeRay its own commands
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s --retries=3 \
    CMD wget --quiet --no-proxy --tries=1 --timeout=5 --output-document=/dev/null "http://127.0.0.1:${ICSS_API_PORT:-8000}/healthz"
ENTRYPOINT []
CMD ["python", "-m", "services.serving", "--own-cluster"]
