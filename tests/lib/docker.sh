# SPDX-License-Identifier: MIT
#
# A Docker engine, our images and a compose project for the tests that source this file after
# tests/lib/sshd.sh. An engine that runs already is used; else, as root on Linux, one is installed
# from the distribution and started for the test alone, with its data in .cache/docker.
#
#   docker_begin     $T, a working `docker` and `docker-compose`; or skips the test and exits
#   docker_images    builds ronzal and ronzal-cpu, prints their sizes
#   docker_end       takes down the project and ends the engine that docker_begin started
#
#   compose ...      docker-compose in $CHECKOUT; COMPOSE names another one
#   healthy SERVICE...  set_mode true|false|auto   chat MODEL   chat_answers MODEL
#   within SECONDS COMMAND...   tries it until it is true
#
#   $CHECKOUT        a copy of the checkout, so that .env and docker-compose.yml may be changed
#   $BRIDGE          the host's address as containers see it

docker_skip() { # WHY
	skip "$(basename "$0" .sh)" "$1"
	exit 0
}

docker_end() {
	[ -z "${CHECKOUT:-}" ] || (cd "$CHECKOUT" && docker-compose down -v -t 5 >/dev/null 2>&1)
	if [ -n "${DOCKERD:-}" ]; then
		kill "$DOCKERD" 2>/dev/null && wait "$DOCKERD" 2>/dev/null
		umount "$T"/docker/netns/* 2>/dev/null
		DOCKERD=
	fi
}

docker_install() {
	command -v dockerd >/dev/null 2>&1 && command -v docker >/dev/null 2>&1 && return
	command -v apt-get >/dev/null 2>&1 && scripts/deps.sh --test >/dev/null 2>&1
	command -v dockerd >/dev/null 2>&1
}

docker_start() {
	docker_root=$PWD/.cache/docker
	mkdir -p "$docker_root"
	export DOCKER_HOST="unix://$T/docker.sock"
	dockerd --host "$DOCKER_HOST" --data-root "$docker_root/data" --exec-root "$T/docker" \
		--pidfile "$T/docker.pid" >"$T/dockerd.log" 2>&1 &
	DOCKERD=$!
	tries=0
	until docker info >/dev/null 2>&1; do
		tries=$((tries + 1))
		kill -0 "$DOCKERD" 2>/dev/null && [ $tries -lt 60 ] || return 1
		sleep 0.5
	done
}

docker_begin() {
	T=$(mktemp -d /tmp/ronzal-test.XXXXXX) || exit 1
	chmod 755 "$T"
	trap 'docker_end; rm -rf "$T"' EXIT
	trap 'exit 1' HUP INT TERM
	if ! docker info >/dev/null 2>&1; then
		[ "$(id -u)" -eq 0 ] && [ "$(uname)" = Linux ] ||
			docker_skip 'no Docker engine runs, and only root on Linux can start one'
		docker_install || docker_skip 'no Docker engine here, and none could be installed'
		docker_start || docker_skip "dockerd does not start: $(tail -n 1 "$T/dockerd.log" | cut -c1-200)"
	fi
	if ! command -v docker-compose >/dev/null 2>&1; then
		docker compose version >/dev/null 2>&1 || docker_skip 'neither docker-compose nor docker compose'
		mkdir "$T/bin"
		printf '#!/bin/sh\nexec docker compose "$@"\n' >"$T/bin/docker-compose"
		chmod +x "$T/bin/docker-compose"
		PATH=$T/bin:$PATH
	fi
	BRIDGE=$(docker network inspect bridge -f '{{range .IPAM.Config}}{{.Gateway}}{{end}}')
	CHECKOUT=$T/checkout
	mkdir "$CHECKOUT"
	git ls-files -z | tar --null -T - -c | tar -x -C "$CHECKOUT"
	[ -f web/dist/index.html ] || make web >"$T/web.log" 2>&1
	[ ! -d web/dist ] || cp -R web/dist "$CHECKOUT/web/"
	export COMPOSE_PROJECT_NAME=ronzal-test
}

# Debian's own image where it can be had; else one made here with the machine's own apt settings.
docker_base() {
	if timeout 60 docker pull -q debian:trixie-slim >/dev/null 2>&1; then
		return
	fi
	export RONZAL_BASE=ronzal-test-base
	! docker image inspect "$RONZAL_BASE" >/dev/null 2>&1 || return 0
	release=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
		'Created-By: Packages' | awk -v r="$release" '$1 == r && $2 == "main" { print $3; exit }')
	debootstrap --variant=minbase --include=ca-certificates "$release" "$T/base" "$mirror" \
		>"$T/debootstrap.log" 2>&1 || docker_skip 'no base image: debootstrap failed'
	cp /etc/apt/apt.conf.d/* "$T/base/etc/apt/apt.conf.d/" 2>/dev/null
	tar -C "$T/base" -c . | docker import - "$RONZAL_BASE" >/dev/null
	rm -rf "$T/base"
}

# Node's own image where it can be had; else our base with the machine's own node and authorities.
docker_page_base() { # 1: there is none
	if timeout 60 docker pull -q node:22-trixie-slim >/dev/null 2>&1; then
		RONZAL_PAGE_BASE=node:22-trixie-slim
		return
	fi
	node=$(readlink -f "$(command -v node)") && npm=$(readlink -f "$(command -v npm)") &&
		npm=${npm%/bin/npm-cli.js} && [ -f "$npm/bin/npm-cli.js" ] && npm ping >/dev/null 2>&1 || return 1
	RONZAL_PAGE_BASE=ronzal-test-node
	mkdir -p "$T/node/usr/bin" "$T/node/usr/lib/node_modules" "$T/node/etc/ssl/certs"
	cp "$node" "$T/node/usr/bin/node"
	cp -RL "$npm" "$T/node/usr/lib/node_modules/npm"
	ln -s ../lib/node_modules/npm/bin/npm-cli.js "$T/node/usr/bin/npm"
	cp /etc/ssl/certs/ca-certificates.crt "$T/node/etc/ssl/certs/"
	cat >"$T/node/Dockerfile" <<-END
		FROM $RONZAL_BASE
		COPY usr /usr
		COPY etc /etc
		ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
	END
	docker build -q -t $RONZAL_PAGE_BASE "$T/node" >"$T/build.log" 2>&1
}

docker_build() { # TARGET
	docker build --network host --build-arg "BASE=${RONZAL_BASE:-debian:trixie-slim}" \
		--build-arg "PAGE_BASE=${RONZAL_PAGE_BASE:-node:22-trixie-slim}" \
		--target "$1" -t "$1" "$CHECKOUT" >"$T/build.log" 2>&1
}

docker_images() {
	docker_base
	# The page was built here already: then any base does for the stage that would build it.
	[ ! -f "$CHECKOUT/web/dist/index.html" ] || export RONZAL_PAGE_BASE="${RONZAL_BASE:-debian:trixie-slim}"
	for image in ronzal ronzal-cpu; do
		docker_build $image || { not_ok "image $image is built" "$(tail -3 "$T/build.log" | tr '\n' ' ')" && exit 1; }
		ok "image $image is built"
		docker image inspect $image -f '{{.Size}}' |
			awk -v n=$image '{ printf "# image %s: %.1f MB\n", n, $1 / 1000000 }'
	done
}

# The project ---------------------------------------------------------------------------------

API=http://localhost:8000
PORTS='5173 8000 9090 8080 8081'

docker_needs_ports() {
	for port in $PORTS; do
		! curl -s -m 1 "http://127.0.0.1:$port/" >/dev/null || docker_skip "port $port is taken on this machine"
	done
}

within() {
	within_until=$(($(date +%s) + $1))
	shift
	until "$@"; do
		[ "$(date +%s)" -lt "$within_until" ] || { echo "waited in vain for: $*"; return 1; }
		sleep 0.2
	done
}

compose() { (cd "$CHECKOUT" && ${COMPOSE:-docker-compose} "$@"); }

container() { compose ps -q "$1" 2>/dev/null; } # SERVICE

healthy() {
	for service; do
		id=$(container "$service") && [ -n "$id" ] &&
			[ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ] || return 1
	done
}

# One answer of one model, from the host, by the OpenAI form.
chat() {
	curl -s -m 60 "$API/v1/chat/completions" -H 'Content-Type: application/json' \
		-d "{\"model\":\"$1\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}"
}

chat_answers() { chat "$1" >"$T/chat" && grep -q '"choices"' "$T/chat"; }

set_mode() { # the edit that the seed asks for
	sed "s/USE_EXTERNAL_SERVERS=[a-z]*/USE_EXTERNAL_SERVERS=$1/" "$CHECKOUT/docker-compose.yml" >"$T/c.yml" &&
		cat "$T/c.yml" >"$CHECKOUT/docker-compose.yml"
}

logs_on_failure() { # TEST
	"$1" || { compose logs --tail 15 2>&1 | cut -c1-240 | tail -40; return 1; }
}

up() { # SERVICE... that must become healthy
	compose up -d >"$T/out" 2>&1 || { tail -5 "$T/out"; return 1; }
	within 120 healthy "$@"
}
