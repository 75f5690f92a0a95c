# SPDX-License-Identifier: MIT
#
# A home and a checkout in $T for tests of set-up and of what comes after it, with a real sshd that
# reads that home's authorized_keys. Sourced after tests/lib/sshd.sh; needs $RONZAL_BUILD.
#
#   setup_begin PORT_FROM    sshd on PORT_FROM..+19, engines on PORT_FROM+30..+39; exports HOME,
#                            RONZAL_HOME and what set-up reads; $CHECKOUT, $AUTHORIZED, $SETUP
#   setup_end                ends the agent and all engines of that home; also done at exit

find_engine() {
	[ -n "${RONZAL_ENGINE:-}" ] || RONZAL_ENGINE=$(scripts/engine.sh --find 2>/dev/null)
	[ -n "$RONZAL_ENGINE" ] && export RONZAL_ENGINE
}

setup_begin() { # PORT_FROM
	find_engine || { skip "$(basename "$0" .sh)" 'no llama-server here: scripts/engine.sh' && exit 0; }
	sshd_begin "$1"
	trap 'setup_end; sshd_end' EXIT
	CHECKOUT=$T/checkout
	AUTHORIZED=$T/user/.ssh/authorized_keys
	SETUP=$CHECKOUT/scripts/setup-ssh-automation.sh
	mkdir -p "$T/user/.ssh" "$CHECKOUT/demo"
	cp -R scripts docker-compose.yml "$CHECKOUT/"
	cp demo/ronzal-demo.gguf "$CHECKOUT/demo/"
	ln -s "$RONZAL_BUILD" "$CHECKOUT/build"
	echo "AuthorizedKeysFile $AUTHORIZED" >"$T/sshd_config.more"
	sshd_restart || { not_ok 'sshd runs on loopback' "$(tail -3 "$T/sshd.log")" && exit 1; }
	echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAISomebodyElse else@where' >"$AUTHORIZED"
	export HOME="$T/user" RONZAL_HOME="$T/r" RONZAL_SSH_PORT="$PORT" \
		RONZAL_ENGINE_PORT_MIN=$(($1 + 30)) RONZAL_ENGINE_PORT_MAX=$(($1 + 39)) \
		RONZAL_CONTROLLER_LEASE_S=8 NO_COLOR=1
}

setup_end() {
	[ ! -x "$T/r/libexec/ronzal" ] || "$T/r/libexec/ronzal" service uninstall >/dev/null 2>&1
}

set_up() {
	"$SETUP" --yes --background </dev/null
}

# Registers the smoke model twice, as the backend would and as the user that it runs as.
register_models() {
	registry_owner=$(find "$RONZAL_HOME/state/registry" -prune -printf %U)
	cat >"$RONZAL_HOME/state/registry/model_registry.json" <<-END
		{"models":{
		"demo":{"model_id":"demo","file_path":"/models/ronzal-demo.gguf","enabled":true,
		        "port":$RONZAL_ENGINE_PORT_MIN},
		"demo-2":{"model_id":"demo-2","file_path":"/models/ronzal-demo.gguf","enabled":true,
		        "port":$((RONZAL_ENGINE_PORT_MIN + 1))}}}
	END
	chown "$registry_owner" "$RONZAL_HOME/state/registry/model_registry.json"
}

# The key as the container uses it: set-up's files in a folder of the container's user, and its own
# configuration with the places of this machine.
client_config() {
	cp -R "$RONZAL_HOME/config/ssh" "$T/ssh" && chown -R "$(id -u)" "$T/ssh"
	sed "s|/ssh/|$T/ssh/|; s|host.docker.internal|127.0.0.1|" "$T/ssh/config" >"$T/client_config"
}

host_command() { # COMMAND: by the restricted key
	ssh -F "$T/client_config" ronzal-host "$1"
}
