# The service with its page and mini. Build: docker build -t clap-musicgen .
# See docs/service.md; docs/licences.md before you pass an image on.

FROM node:22-bookworm-slim AS page
WORKDIR /source/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.12-slim-bookworm AS package
# An index of CPU builds of PyTorch, if given, makes the image several GB smaller.
ARG PIP_EXTRA_INDEX_URL=""
WORKDIR /source
RUN python -m venv /opt/clap-musicgen
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY src ./src
COPY --from=page /source/src/clap_musicgen/service/page ./src/clap_musicgen/service/page
RUN /opt/clap-musicgen/bin/pip install --no-cache-dir -c constraints.txt '.[serve,map]'

FROM python:3.12-slim-bookworm
RUN useradd --uid 10001 --create-home listener \
 && install --directory --owner listener /library /music
COPY --from=package /opt/clap-musicgen /opt/clap-musicgen
ENV PATH=/opt/clap-musicgen/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CLAP_MUSICGEN_LIBRARY=/library/music.clap \
    XDG_CACHE_HOME=/library/cache
USER 10001
VOLUME /library
EXPOSE 8321
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8321/api/health', timeout=4)"]
ENTRYPOINT ["clap-musicgen"]
# Without CLAP_MUSICGEN_TOKEN it refuses to start: other machines can reach it.
CMD ["serve", "--host", "0.0.0.0", "--music", "/music"]
