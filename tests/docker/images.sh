#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The images by themselves: what is in them, as whom they run, how they say that they are well.
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/sshd.sh
. tests/lib/docker.sh
docker_begin
docker_images

page_stage() {
	rm -rf "$CHECKOUT/web/dist"
	docker_build page || { tail -5 "$T/build.log"; return 1; }
	docker run --rm --entrypoint cat page /src/web/dist/index.html >"$T/out" && grep -qi '<script' "$T/out"
	result=$?
	docker image rm page >/dev/null
	return $result
}
if docker_page_base; then
	check the_page_is_built_in_a_stage_of_its_own page_stage
else
	skip the_page_is_built_in_a_stage_of_its_own "no image with node, or no npm registry, can be had"
fi

no_root_no_shell() {
	for image in ronzal ronzal-cpu; do
		user=$(docker image inspect $image -f '{{.Config.User}}')
		case $user in '' | 0 | 0:* | root*) echo "$image runs as '$user'" && return 1 ;; esac
	done
	docker run --rm --entrypoint /bin/sh ronzal -c true >"$T/out" 2>&1 && { echo 'there is a shell'; return 1; }
	docker run --rm --entrypoint /usr/bin/curl ronzal-cpu >"$T/out" 2>&1 && { echo 'there is curl'; return 1; }
	return 0
}
check images_run_as_nobody_and_the_small_one_has_no_shell no_root_no_shell

# Every layer of both images, file by file.
no_keys() {
	for image in ronzal ronzal-cpu; do
		mkdir -p "$T/layers/$image"
		docker save $image | tar -x -C "$T/layers/$image" || return 1
		find "$T/layers/$image" -type f >"$T/layer-files"
		while read -r layer; do
			tar -tf "$layer" >>"$T/names" 2>/dev/null && tar -xOf "$layer" 2>/dev/null |
				grep -aqE '^-----BEGIN [A-Z ]*PRIVATE KEY-----$' && { echo "a private key in $image"; return 1; }
		done <"$T/layer-files"
		docker history --no-trunc $image | grep -i 'secret=\|password=\|token=' && return 1
	done
	grep -E '(^|/)(id_[a-z0-9]+|authorized_keys|known_hosts|host\.conf|\.env|[a-z.-]*secret|[a-z.]*\.token)$' \
		"$T/names" && return 1
	rm -rf "$T/layers"
}
check no_key_and_no_secret_is_in_any_layer no_keys

# As compose runs it, and nothing is writable but what must be.
hardened() {
	docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges \
		--tmpfs /state:mode=1777 -e RONZAL_HOME=/state ronzal version >"$T/out" 2>&1 &&
		grep -q . "$T/out" || { cat "$T/out"; return 1; }
	docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --entrypoint \
		/opt/ronzal-engine/bin/llama-server ronzal-cpu --version >"$T/out" 2>&1 &&
		grep -qi version "$T/out" || { cat "$T/out"; return 1; }
}
check both_run_with_a_read_only_root_and_no_capabilities hardened

compose_is_hardened() {
	(cd "$CHECKOUT" && docker-compose config) >"$T/out" 2>&1 || { cat "$T/out"; return 1; }
	[ "$(grep -c 'read_only: true' "$T/out")" -ge 3 ] && [ "$(grep -c no-new-privileges "$T/out")" -eq 3 ] &&
		[ "$(grep -c -- '- ALL' "$T/out")" -eq 3 ] || { cat "$T/out"; return 1; }
	! grep -E 'published|- .*:[0-9]+->|[0-9]+:[0-9]+' "$CHECKOUT/docker-compose.yml" |
		grep -E '^ *- "' | grep -v '127\.0\.0\.1' | grep -q '[0-9]:[0-9]'
}
check compose_drops_everything_and_publishes_on_loopback_only compose_is_hardened

literal_lines() { # as the seed writes them
	awk '/^ *environment:$/ { getline; if ($0 ~ /^ *- USE_EXTERNAL_SERVERS=false$/) found = 1 }
		END { exit !found }' "$CHECKOUT/docker-compose.yml"
}
check the_seed_s_lines_are_in_the_compose_file literal_lines

well_without_a_shell() {
	name=ronzal-test-health
	docker run -d --name $name --read-only --cap-drop ALL --tmpfs /state:mode=1777 \
		--health-cmd none ronzal hostapi >/dev/null || return 1
	tries=0
	until docker exec $name /usr/bin/ronzal health hostapi >"$T/out" 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 50 ] || { cat "$T/out"; docker logs $name; docker rm -f $name >/dev/null; return 1; }
		sleep 0.2
	done
	docker exec $name /usr/bin/ronzal health backend >"$T/out" 2>&1 && { echo 'well, though not there'; return 1; }
	from=$(date +%s)
	docker stop -t 10 $name >/dev/null
	took=$(($(date +%s) - from))
	code=$(docker inspect -f '{{.State.ExitCode}}' $name)
	docker logs $name >"$T/out" 2>&1
	docker rm -f $name >/dev/null
	[ "$code" = 0 ] && [ $took -lt 8 ] || { echo "exit $code after $took s"; return 1; }
	grep -q 'setup-ssh-automation.sh' "$T/out" || { cat "$T/out"; return 1; }
}
check the_binary_tells_its_own_health_says_what_is_missing_and_ends_on_sigterm_as_pid_1 well_without_a_shell
