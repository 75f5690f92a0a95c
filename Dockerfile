# SPDX-License-Identifier: MIT
#
# Two images from one build, both without a distribution in them:
#
#   --target ronzal       the program and ssh: frontend and host-api
#   --target ronzal-cpu   the same and llama-server: backend, which runs models on the CPU itself
#                         with USE_EXTERNAL_SERVERS=false
#
# BASE is any Debian 12 or later; PAGE_BASE one with node 18 or later, where the page is built
# unless web/dist is there already. No secret is needed to build and none is in any layer.

ARG BASE=debian:trixie-slim
ARG PAGE_BASE=node:22-trixie-slim

FROM ${PAGE_BASE} AS page
WORKDIR /src
COPY web web
RUN [ -f web/dist/index.html ] || { cd web && { npm ci || npm install --no-save; } && npm run build; }

FROM ${BASE} AS build
WORKDIR /src
COPY scripts/deps.sh scripts/
RUN scripts/deps.sh
COPY Makefile ./
COPY src src
COPY scripts scripts
COPY deploy deploy
ARG VERSION=unknown
RUN echo "${VERSION}" >VERSION && make build && \
	install -D -m 755 build/ronzal /usr/bin/ronzal && \
	install -D -m 755 -t /usr/libexec/ronzal build/ronzal-shim && \
	deploy/collect.sh /out /usr/bin/ronzal /usr/bin/ssh && \
	cp -R deploy/root/. /out && \
	install -d -m 1777 /out/tmp /out/state /out/registry && install -d /out/ssh /out/models /out/usr/libexec/ronzal && \
	ln -s /ssh/passwd /out/etc/passwd
RUN deploy/collect.sh /out-cpu /usr/libexec/ronzal/ronzal-shim /bin/sh

FROM scratch AS ronzal
COPY --from=build /out /
COPY --from=page /src/web/dist /usr/share/ronzal/web
ENV RONZAL_HOME=/state RONZAL_LISTEN=0.0.0.0
USER 1000:1000
ENTRYPOINT ["/usr/bin/ronzal"]

FROM ${BASE} AS engine
ENV RONZAL_ENGINE_PREFIX=/opt/ronzal-engine
COPY scripts/deps.sh scripts/engine.sh scripts/
RUN apt-get update -qq && scripts/engine.sh

FROM ronzal AS ronzal-cpu
COPY --from=build /out-cpu /
COPY --from=engine /opt/ronzal-engine /opt/ronzal-engine
COPY demo/ronzal-demo.gguf /usr/share/ronzal/demo/
ENV RONZAL_ENGINE=/opt/ronzal-engine/bin/llama-server
