# The service as one image. CPU by default: `docker build -t lapsrn .`; with CUDA: `--build-arg VARIANT=cuda`.
# Only the second has PyTorch, from the default index, whose Linux wheel carries CUDA, or from TORCH_INDEX_URL.
# What compiles the C sources comes as a package and stays, like what installs, in the first stage.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG VARIANT=cpu
# heif reads HEIC; the licences of what it brings are told in docs/formats.md.
ARG EXTRAS=heif
ARG TORCH_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN apt-get update -q && apt-get install -y -q --no-install-recommends binutils && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv --without-pip /opt/lapsrn

# Dependencies first: this layer changes only with the pins. PyTorch wants setuptools for compiling extensions alone.
COPY pyproject.toml constraints.txt ./
COPY deploy/image/requirements.py deploy/image/slim.py deploy/image/
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$VARIANT" in cpu) ;; cuda) EXTRAS="$EXTRAS gpu" ;; *) echo "VARIANT is cpu or cuda, not $VARIANT"; exit 1 ;; esac \
 && python3 deploy/image/requirements.py pyproject.toml $EXTRAS > requirements.txt \
 && if [ -n "$TORCH_INDEX_URL" ]; then set -- "$@" --extra-index-url "$TORCH_INDEX_URL"; fi \
 && python3 -m pip --python /opt/lapsrn/bin/python install "$@" -c constraints.txt -r requirements.txt \
 && if [ "$VARIANT" = cuda ]; then /opt/lapsrn/bin/python -c 'import torch; assert torch.version.cuda, "this PyTorch has no CUDA: leave TORCH_INDEX_URL empty or name a CUDA index"'; fi \
 && python3 -m pip --python /opt/lapsrn/bin/python uninstall --yes setuptools \
 && python3 deploy/image/slim.py /opt/lapsrn/lib/python3.11/site-packages \
 && chmod -R a+rX /opt/lapsrn

FROM build AS code
COPY README.md LICENSE setup.py ./
COPY app/ app/
COPY clients/ clients/
COPY lapsrn/ lapsrn/
COPY model/ model/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m pip --python /opt/lapsrn/bin/python install --no-deps --no-compile --prefix /code -c constraints.txt . \
 && chmod -R a+rX /code

FROM ${BASE} AS weights
COPY weights/*.safetensors /weights/
RUN chmod -R a+rX /weights

FROM ${BASE} AS service
LABEL org.opencontainers.image.title="lapsrn" \
      org.opencontainers.image.description="Super-resolution service: LapSRN x2 and x4 over HTTP" \
      org.opencontainers.image.licenses="MIT"
# Whoever gets in finds nothing to install packages with.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3.11/ensurepip \
      /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/site-packages/setuptools* \
      /usr/local/lib/python3.11/site-packages/pkg_resources /usr/local/lib/python3.11/site-packages/wheel* \
      /usr/local/lib/python3.11/site-packages/_distutils_hack /usr/local/lib/python3.11/site-packages/distutils-precedence.pth \
 && groupadd --gid 10001 lapsrn \
 && useradd --uid 10001 --gid lapsrn --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lapsrn
# What changes seldom comes first: the dependencies, the weights, the code; a change of the last moves the last layer only.
COPY --from=build /opt/lapsrn /opt/lapsrn
COPY --from=weights /weights /opt/lapsrn/weights
COPY --from=code /code /opt/lapsrn
ENV PATH=/opt/lapsrn/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    LAPSRN_HOST=0.0.0.0 LAPSRN_PORT=8000 LAPSRN_LAME_DUCK_SECONDS=5 \
    LAPSRN_WEIGHTS=/opt/lapsrn/weights/lapsrn_x4.safetensors \
    LAPSRN_MORE_WEIGHTS=/opt/lapsrn/weights
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=300s --start-interval=1s --retries=3 \
  CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['LAPSRN_PORT']), timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["lapsrn"]
CMD ["serve"]
