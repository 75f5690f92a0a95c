#!/bin/sh
# SPDX-License-Identifier: MIT
#
# setup-ssh-automation.sh: gives the containers a restricted key to this machine.
#
#   ./scripts/setup-ssh-automation.sh              asks once, then does what is missing
#   ./scripts/setup-ssh-automation.sh --yes        asks nothing
#   ./scripts/setup-ssh-automation.sh --check      changes nothing, tells what is wrong
#   ./scripts/setup-ssh-automation.sh --uninstall  takes back what it made
#   ... --background   runs the agent as a plain background process, not as a login service
#
# The key can start and stop the registered models and see their states, nothing else. Run it again
# at any time: what is right is kept, what is ours and old is replaced, what is not ours is left.
# It never needs root on Linux. Where root is the user, containers run as another one all the same.
#
# Environment: RONZAL_HOME   one folder for everything of ronzal instead of the usual places
#              RONZAL_MODELS     folder of GGUF files, the containers' /models (~/models)
#              RONZAL_SSH_PORT   port of this machine's sshd (as before, or 22)
#              RONZAL_UID        user that the containers run as, for root alone (1000)
set -u
umask 077

MARK=ronzal-restricted-key # the comment that our line in authorized_keys ends with
CANARY=/nonexistent/ronzal-canary
HOST_ALIAS=ronzal-host
VERB=start-metal-servers
COPIES='ssh-wrapper.sh start-host-llama-servers.sh stop-host-llama-servers.sh'
PROGRAMS='ronzal ronzal-gate ronzal-shim ronzal-fetch'

# Output --------------------------------------------------------------------------------------

said() { printf '%-5s %-10s %s\n' "$1" "$2" "$3"; } # WORD WHAT TEXT
kept() { said ok "$1" "$2"; }
did() { said did "$1" "$2"; }
failed() { # WHAT TEXT FIX
	said FAIL "$1" "$2"
	printf '                 fix: %s\n' "$3"
	FAILED=1
}
die() {
	failed "$@"
	exit 1
}
ask() { # QUESTION
	[ -z "$YES" ] || return 0
	if [ ! -t 0 ]; then
		echo 'Nobody can answer here: run it in a terminal, or with --yes.' >&2
		return 1
	fi
	printf '%s [y/N] ' "$1"
	read -r answer && case $answer in [yY]*) return 0 ;; *) return 1 ;; esac
}

# Places --------------------------------------------------------------------------------------

quotable() { # PATH: fit for authorized_keys, ssh's configuration, .env and the shell
	case $1 in *[\"\'\\\$\`]* | *'
'*) return 1 ;; esac
}

find_places() {
	here=$(cd "$(dirname "$0")" && pwd) || exit 1
	checkout=$(cd "$here/.." && pwd)
	env_file=$checkout/.env
	system=$(uname)
	user=$(id -un) uid=$(id -u) gid=$(id -g)
	if [ "$uid" -eq 0 ]; then
		[ -z "${SUDO_USER:-}" ] || die user "this is root by sudo, for $SUDO_USER" 'run it without sudo'
		uid=${RONZAL_UID:-$(env_value RONZAL_UID)}
		uid=${uid:-1000} gid=${uid:-1000}
	fi
	if [ -n "${RONZAL_HOME:-}" ]; then
		libexec=$RONZAL_HOME/libexec state=$RONZAL_HOME/state config=$RONZAL_HOME/config
		logs=$RONZAL_HOME/logs gate_logs=$RONZAL_HOME/logs models=$RONZAL_HOME/models
	elif [ "$system" = Darwin ]; then
		state="$HOME/Library/Application Support/ronzal" config=$state/config
		libexec=$HOME/.local/libexec/ronzal models=$HOME/models
		logs=$HOME/Library/Logs/ronzal gate_logs=$HOME/.local/state/ronzal/logs
	else
		state=$HOME/.local/state/ronzal config=$HOME/.config/ronzal
		libexec=$HOME/.local/libexec/ronzal models=$HOME/models
		logs=$state/logs gate_logs=$state/logs
		[ "${XDG_STATE_HOME:-$HOME/.local/state}" = "$HOME/.local/state" ] &&
			[ "${XDG_CONFIG_HOME:-$HOME/.config}" = "$HOME/.config" ] ||
			die places 'XDG_STATE_HOME or XDG_CONFIG_HOME is set, which a login by key does not see' \
				"RONZAL_HOME=$HOME/.ronzal $0"
	fi
	ssh_folder=$config/ssh
	port=${RONZAL_SSH_PORT:-$(sed -n 's/^[[:space:]]*Port //p' "$ssh_folder/config" 2>/dev/null)}
	port=${port:-22}
	registry=$state/registry
	authorized=$HOME/.ssh/authorized_keys
	[ -n "${RONZAL_MODELS:-}" ] || RONZAL_MODELS=$(env_value RONZAL_MODELS_FOLDER)
	models=${RONZAL_MODELS:-$models}
	for place in "$libexec" "$state" "$config" "$models" "$HOME" "$user"; do
		quotable "$place" || die places "$place has a quote, dollar, backslash or line end in it" \
			'set RONZAL_HOME (and RONZAL_MODELS) to plain paths'
	done
	case $port in '' | *[!0-9]*) die places "RONZAL_SSH_PORT is '$port'" 'a port number' ;; esac
	case $uid in 0 | *[!0-9]*) die user "RONZAL_UID is '$uid'" 'a user number, not 0' ;; esac
}

env_value() { # NAME: its value in .env
	[ ! -f "$env_file" ] || sed -n "s/^$1=//p" "$env_file" | tail -1
}

# The file of that name among what was built or installed.
source_of() { # NAME
	for folder in "$here" "$checkout/build" "$here/../../bin"; do
		if [ -f "$folder/$1" ]; then
			echo "$folder/$1"
			return
		fi
	done
	return 1
}

# Replaces FILE by what comes on standard input, at once, if it differs. 1 when it was the same.
put_file() { # FILE MODE
	cat >"$1.new" || exit 1
	chmod "$2" "$1.new"
	if cmp -s "$1.new" "$1" && [ -n "$(find "$1" -prune -perm "$2")" ]; then
		rm -f "$1.new"
		return 1
	fi
	mv -f "$1.new" "$1" || exit 1
}

# The steps. Each is called with "do" or "check". ---------------------------------------------

step_copies() {
	fresh=
	for name in $COPIES $PROGRAMS; do
		file=$(source_of "$name") || die copies "$name is not built" 'make build'
		cmp -s "$file" "$libexec/$name" && [ -x "$libexec/$name" ] || fresh="$fresh $name"
	done
	if [ -z "$fresh" ]; then
		kept copies "$libexec"
	elif [ "$1" = check ]; then
		failed copies "missing or not of this build:$fresh" "$0"
	else
		mkdir -p "$libexec" && chmod 755 "$libexec" || exit 1
		for name in $fresh; do
			cp "$(source_of "$name")" "$libexec/$name.new" && chmod 755 "$libexec/$name.new" &&
				mv -f "$libexec/$name.new" "$libexec/$name" || exit 1
		done
		did copies "installed into $libexec:$fresh"
	fi
}

step_folders() {
	if [ "$1" = do ]; then
		for folder in "$state" "$config" "$logs" "$gate_logs" "$ssh_folder" "$registry"; do
			mkdir -p "$folder" || exit 1
		done
		chmod 700 "$ssh_folder"
		[ -d "$models" ] || { mkdir -p "$models" && chmod 755 "$models"; } || exit 1
		if [ -f "$state/model_registry.json" ] && [ ! -f "$registry/model_registry.json" ]; then
			cp "$state/model_registry.json" "$registry/"
			did registry "your models of 'ronzal up' copied to $registry"
		fi
		demo=$checkout/demo/ronzal-demo.gguf
		if [ -f "$demo" ] && [ -z "$(find -L "$models" -name '*.gguf' 2>/dev/null | head -1)" ]; then
			cp "$demo" "$models/" && chmod 644 "$models/ronzal-demo.gguf"
			did models "the smoke model copied to $models: put your GGUF files beside it"
		fi
	fi
	for folder in "$registry" "$models"; do
		[ -d "$folder" ] || failed folders "$folder is not there" "$0"
	done
}

step_key() {
	if [ -f "$ssh_folder/id_ed25519.pub" ] && [ -n "$(find "$ssh_folder/id_ed25519" -perm 600 2>/dev/null)" ] &&
		ssh-keygen -y -P '' -f "$ssh_folder/id_ed25519" >/dev/null 2>&1; then
		kept key "$ssh_folder/id_ed25519"
	elif [ "$1" = check ]; then
		failed key "$ssh_folder/id_ed25519 is missing, unreadable or readable by others" "$0"
	elif [ -f "$ssh_folder/id_ed25519" ] && chmod 600 "$ssh_folder/id_ed25519" &&
		ssh-keygen -y -P '' -f "$ssh_folder/id_ed25519" >"$ssh_folder/id_ed25519.pub"; then
		did key "permissions of $ssh_folder/id_ed25519 narrowed to its owner"
	else
		rm -f "$ssh_folder/id_ed25519" "$ssh_folder/id_ed25519.pub"
		ssh-keygen -q -t ed25519 -N '' -C "$MARK" -f "$ssh_folder/id_ed25519" ||
			die key 'ssh-keygen failed' 'see its message above'
		did key "made $ssh_folder/id_ed25519, for ronzal alone"
	fi
}

our_line() {
	printf 'restrict,command="'"'%s/ssh-wrapper.sh'%s"'" %s %s\n' "$libexec" \
		"${RONZAL_HOME:+ '$RONZAL_HOME'}" "$(cut -d' ' -f1,2 "$ssh_folder/id_ed25519.pub")" "$MARK"
}

# authorized_keys without our lines: those with our mark or our key, whatever else they say.
others_lines() {
	[ ! -f "$authorized" ] || awk -v mark="$MARK" -v key="$1" '
		$NF == mark { next }
		key != "" { for (i = 1; i <= NF; i++) if ($i == key) next }
		{ print }' "$authorized"
}

our_key() {
	[ ! -f "$ssh_folder/id_ed25519.pub" ] || cut -d' ' -f2 "$ssh_folder/id_ed25519.pub"
}

put_authorized() { # the new content on standard input; a link stays a link
	cat >"$authorized.ronzal" && cat "$authorized.ronzal" >"$authorized" || exit 1
	rm -f "$authorized.ronzal"
}

step_authorized() {
	key=$(our_key)
	old=$(awk -v mark="$MARK" -v key="$key" '
		{ for (i = 1; i <= NF; i++) if ($i == key || (i == NF && $i == mark)) { print; next } }' \
		"$authorized" 2>/dev/null)
	if [ -n "$key" ] && [ "$old" = "$(our_line)" ]; then
		kept line "in $authorized"
	elif [ "$1" = check ]; then
		failed line "the line for the key in $authorized is missing or not as it should be" "$0"
	else
		[ -d "$HOME/.ssh" ] || { mkdir "$HOME/.ssh" && chmod 700 "$HOME/.ssh"; } || exit 1
		[ -e "$authorized" ] || : >"$authorized"
		{ others_lines "$key"; our_line; } | put_authorized
		chmod go-w "$authorized"
		did line "in $authorized: restrict, command=\"$libexec/ssh-wrapper.sh\""
	fi
}

step_sshd() {
	served=$(ssh-keyscan -T 5 -p "$port" 127.0.0.1 2>/dev/null | grep -v '^#' | cut -d' ' -f2,3)
	[ -z "$served" ] || return 0
	if [ "$1" = do ] && [ "$system" = Darwin ] &&
		ask 'Remote Login is off. Switch it on (sudo systemsetup -setremotelogin on)?'; then
		sudo systemsetup -setremotelogin on && did sshd 'Remote Login switched on'
		served=$(ssh-keyscan -T 5 -p "$port" 127.0.0.1 2>/dev/null | grep -v '^#' | cut -d' ' -f2,3)
		[ -z "$served" ] || return 0
	fi
	if [ "$system" = Darwin ]; then
		die sshd "nothing answers on port $port" \
			'System Settings > General > Sharing > Remote Login, then run this again'
	fi
	die sshd "nothing answers on port $port" \
		'sudo apt install openssh-server (or: sudo systemctl start ssh); RONZAL_SSH_PORT=N if elsewhere'
}

# What the Host API's container reads, as /ssh. The host key is pinned under a name of its own, so
# that it holds for every address by which a container reaches this machine.
ssh_files() { # FOLDER-AS-READ FILE
	case $2 in
	known_hosts) printf '%s\n' "$served" | sort | sed "s/^/$HOST_ALIAS /" ;;
	passwd) printf 'ronzal:x:%s:%s:ronzal:/:/sbin/nologin\n' "$uid" "$gid" ;;
	config)
		cat <<-END
			# Written by setup-ssh-automation.sh for the ssh client of the Host API.
			Host $HOST_ALIAS
				HostName host.docker.internal
				Port $port
				User "$user"
				HostKeyAlias $HOST_ALIAS
				StrictHostKeyChecking yes
				UserKnownHostsFile "$1/known_hosts"
				GlobalKnownHostsFile /dev/null
				UpdateHostKeys no
				IdentityFile "$1/id_ed25519"
				IdentitiesOnly yes
				IdentityAgent none
				PreferredAuthentications publickey
				BatchMode yes
				ConnectTimeout 5
				ServerAliveInterval 5
				ServerAliveCountMax 3
				ClearAllForwardings yes
				ForwardAgent no
				RequestTTY no
				LogLevel ERROR
		END
		;;
	esac
}

step_client() {
	for file in known_hosts config passwd; do
		if [ "$1" = check ]; then
			ssh_files /ssh $file | cmp -s - "$ssh_folder/$file" ||
				case $file in
				known_hosts) failed "host key" "this machine's key is not the one pinned in $ssh_folder" \
					"if you changed it yourself: $0" ;;
				*) failed client "$ssh_folder/$file is missing or not as it should be" "$0" ;;
				esac
		elif [ $file = known_hosts ] && [ -f "$ssh_folder/$file" ] &&
			! ssh_files /ssh $file | cmp -s - "$ssh_folder/$file"; then
			ask 'The host key of this machine has changed. Pin the new one?' ||
				die 'host key' 'changed and not pinned' "$0"
			ssh_files /ssh $file | put_file "$ssh_folder/$file" 600
			did 'host key' 'CHANGED: the new one is pinned'
		elif ssh_files /ssh $file | put_file "$ssh_folder/$file" 600; then
			did client "wrote $ssh_folder/$file"
		else
			kept client "$ssh_folder/$file"
		fi
	done
}

# ssh wants its key to be the user's own, and the backend writes the registry.
step_owner() {
	if [ -z "$(find "$ssh_folder" "$registry" ! -user "$uid" 2>/dev/null)" ]; then
		[ "$uid" -eq "$(id -u)" ] || kept user "you are root; containers run as $uid, who owns the key"
	elif [ "$1" = check ]; then
		failed user "$ssh_folder or $registry is not owned by $uid, whom containers run as" "$0"
	else
		chown -R "$uid:$gid" "$ssh_folder" "$registry" || die user "chown to $uid failed" 'see its message'
		did user "containers run as $uid, who owns $ssh_folder and $registry"
	fi
}

step_conf() {
	conf=$config/host.conf
	if [ -f "$conf" ]; then
		kept host.conf "$conf (yours to edit; left as it is)"
	elif [ "$1" = check ]; then
		failed host.conf "$conf is not there" "$0"
	else
		put_file "$conf" 600 <<-END
			# What only this machine decides. Containers cannot change it. All options, with their
			# defaults: ronzal help options. After a change: ronzal service install

			# The list of models; its folder is what the backend's container writes.
			registry = $registry/model_registry.json

			# Models must lie in one of these folders; the first one is the containers' /models.
			model_roots = $models

			# llama-server; without a value it is looked up.
			#engine = /path/to/llama-server

			# Extra flags for every llama-server.
			#engine_flags =
		END
		did host.conf "wrote $conf"
	fi
}

env_lines() {
	cat <<-END
		RONZAL_UID=$uid
		RONZAL_GID=$gid
		RONZAL_MODELS_FOLDER=$models
		RONZAL_REGISTRY_FOLDER=$registry
		RONZAL_SSH_FOLDER=$ssh_folder
	END
}

# The ports that the user has not set himself.
env_ports() {
	for line in RONZAL_FRONTEND_PORT=5173 RONZAL_BACKEND_PORT=8000 RONZAL_HOSTAPI_PORT=9090; do
		[ -n "$(env_value "${line%=*}")" ] || echo "$line"
	done
}

# .env without the lines that are ours.
others_env() {
	[ ! -f "$env_file" ] ||
		grep -v -E '^(RONZAL_(UID|GID|(MODELS|REGISTRY|SSH)_FOLDER)=|# Written by setup-ssh)' "$env_file"
}

step_env() {
	if [ ! -f "$checkout/docker-compose.yml" ]; then
		return 0
	elif [ "$(grep -E '^RONZAL_(UID|GID|(MODELS|REGISTRY|SSH)_FOLDER)=' "$env_file" 2>/dev/null)" = "$(env_lines)" ] &&
		[ -z "$(env_ports)" ]; then
		kept .env "$env_file"
	elif [ "$1" = check ]; then
		failed .env "$env_file does not say where things are" "$0"
	else
		{ others_env; echo '# Written by setup-ssh-automation.sh for docker-compose.'; env_lines; env_ports; } |
			put_file "$env_file" 600
		did .env "wrote $env_file: user $uid, models $models"
	fi
}

step_agent() {
	if "$libexec/ronzal" service status >/dev/null 2>&1 && [ -z "$fresh" ]; then
		kept agent "$("$libexec/ronzal" service status)"
	elif [ "$1" = check ]; then
		failed agent 'it does not run' "$libexec/ronzal service install"
	else
		# shellcheck disable=SC2086 # no word when empty
		"$libexec/ronzal" service install $BACKGROUND || die agent 'it could not be started' \
			"see the message above, and $logs/agent.log"
	fi
}

# systemd ends a user's units with his last session, unless he lingers.
step_linger() {
	case $("$libexec/ronzal" service status 2>/dev/null) in *'systemd user unit'*) ;; *) return 0 ;; esac
	if [ "$(loginctl show-user "$user" --property=Linger --value 2>/dev/null)" = yes ]; then
		kept linger 'the agent runs on when you log out'
	elif [ "$1" = do ] && ask 'Let the agent run on when you log out (loginctl enable-linger)?' &&
		loginctl enable-linger; then
		did linger 'the agent runs on when you log out'
	else
		said note linger 'the agent ends when you log out; to keep it: loginctl enable-linger'
	fi
}

# As the container would, but from here.
connect() { # COMMAND SSH-OPTIONS...
	verb=$1
	shift
	ssh -F "$ssh_folder/config" -o HostName=127.0.0.1 -o "UserKnownHostsFile=\"$ssh_folder/known_hosts\"" \
		-o IdentityFile=none -i "$ssh_folder/id_ed25519" "$@" "$HOST_ALIAS" "$verb"
}

# Keeps the channel open until the answer is in the file, or 10 s on a busy machine.
say_hello() { # FILE
	echo '{"type":"hello","version":1,"version_min":1,"controller":"","who":"set-up"}'
	tries=100
	until grep -q 'hello\|canary' "$1" || [ $tries -eq 0 ]; do
		tries=$((tries - 1))
		sleep 0.1
	done
}

step_connect() {
	said=$(connect true </dev/null 2>&1)
	status=$?
	if [ $status -ne 4 ]; then
		case $said in
		*'verification failed'*) fix="the host key is not the pinned one; if you changed it: $0" ;;
		*'Permission denied'*) fix="sshd must read $authorized; both it and your home folder may be \
written by you alone (chmod go-w ~ ~/.ssh $authorized); its log says more" ;;
		*) fix="read the message; then $0 --check" ;;
		esac
		die connect "the key does not lead to the gate: ${said:-status $status}" "$fix"
	fi
	# Only a hello: it starts nothing. Whoever falls silent at once would not hear the answer.
	# The canaries are variables that no program minds.
	heard=$(mktemp) || exit 1
	say_hello "$heard" |
		connect $VERB -o "SetEnv BASH_ENV=$CANARY ZDOTDIR=$CANARY RONZAL_CANARY=$CANARY" >"$heard" 2>&1
	said=$(cat "$heard")
	rm -f "$heard"
	case $said in
	*canary*)
		[ "$1" = check ] || others_lines "$(our_key)" | put_authorized
		die sshd "it lets clients set any variable, so that code runs before the key's restriction" \
			"take 'AcceptEnv *' out of /etc/ssh/sshd_config (the key was not left there), then: $0"
		;;
	*'"hello"'*) kept connect "$VERB and stop-metal-servers, nothing else; the agent answers" ;;
	*) die connect "the agent does not answer: $said" "$libexec/ronzal service status" ;;
	esac
}

uninstall() {
	ask "Remove ronzal's key, its line in $authorized, its copies and its agent?" || exit 1
	if [ -x "$libexec/ronzal" ]; then
		"$libexec/ronzal" service uninstall
	fi
	if [ -f "$authorized" ] && grep -q "$MARK" "$authorized"; then
		others_lines "$(our_key)" | put_authorized
		did line "taken out of $authorized"
	fi
	for folder in "$ssh_folder" "$libexec"; do
		[ ! -d "$folder" ] || { rm -rf "$folder" && did removed "$folder"; }
	done
	if [ -f "$env_file" ] && [ "$(env_value RONZAL_SSH_FOLDER)" = "$ssh_folder" ]; then
		others_env | grep -v -x -E 'RONZAL_(FRONTEND_PORT=5173|BACKEND_PORT=8000|HOSTAPI_PORT=9090)' |
			put_file "$env_file" 600 && did .env 'our lines taken out'
		[ -s "$env_file" ] || rm -f "$env_file"
	fi
	said left models "$models"
	said left state "$state, $config/host.conf, $logs"
}

all_steps() { # do|check
	step_sshd "$1"
	step_copies "$1"
	step_folders "$1"
	step_key "$1"
	step_authorized "$1"
	step_client "$1"
	step_owner "$1"
	step_conf "$1"
	step_env "$1"
	step_agent "$1"
	step_linger "$1"
	[ -n "$FAILED" ] || step_connect "$1"
}

MODE=do YES='' FAILED='' BACKGROUND=''
for argument; do
	case $argument in
	--yes) YES=1 ;;
	--check) MODE=check ;;
	--uninstall) MODE=uninstall ;;
	--background) BACKGROUND=--background ;;
	-h | --help) sed -n '4,/^set/s/^# \{0,1\}//p' "$0" && exit ;;
	*) echo "$0: there is no option $argument; --help lists them" >&2 && exit 2 ;;
	esac
done
find_places
case $MODE in
uninstall) uninstall ;;
check) all_steps check ;;
do)
	ask "Make a key that can start and stop models on this machine, allow it in $authorized,
install copies into $libexec and start the agent?" || exit 1
	all_steps do
	[ -n "$FAILED" ] || printf '\nNext: in docker-compose.yml set USE_EXTERNAL_SERVERS=true, then docker-compose up -d\n'
	;;
esac
[ -z "$FAILED" ]
