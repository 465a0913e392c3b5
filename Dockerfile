# A server, or a bundle, in a container that needs no network, no root and no writable disk but /tmp.
#
#   docker build --target serve -t sottovoce-serve .
#   docker run --read-only --tmpfs /tmp -v "$PWD/runs/base:/model:ro" -v "$PWD/keys.txt:/run/keys.txt:ro" \
#       -p 127.0.0.1:8000:8000 sottovoce-serve
#
#   docker build --target bundle --build-arg BUNDLE=base.tar.gz -t sottovoce-base .
#   docker run --rm -i --read-only --tmpfs /tmp --network none sottovoce-base - < talk.mp3

FROM python:3.12-slim AS wheel
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin sottovoce

FROM base AS bundle
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir /wheels/*.whl && python -m compileall -q /usr/local/lib
ARG BUNDLE
COPY ${BUNDLE} /bundle.tar.gz
USER 10001
ENTRYPOINT ["sottovoce", "transcribe", "/bundle.tar.gz"]

FROM base AS serve
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(ls /wheels/*.whl)[serve]" && python -m compileall -q /usr/local/lib
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["sottovoce", "serve"]
CMD ["/model", "--host", "0.0.0.0", "--api-key-file", "/run/keys.txt"]
