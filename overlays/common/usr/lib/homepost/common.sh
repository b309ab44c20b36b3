# shellcheck shell=sh disable=SC2034 # used by whoever sources it
# Sourced by the scripts beside it.
#
# /run/homepost/problem   there is one: what is wrong with the box, in words for its owner; the mail service does not start
# /run/homepost/failing   the problem is that the mail service does not stay up; it is still being tried
# /run/homepost/stopping  the box is being switched off
# /run/homepost/notice    something the owner should know; the mail service runs
# /run/homepost/step      what the start of the box does, or did last: a sentence
# /run/homepost/clock     "trusted", or "not checked": TLS certificates, ACME and DNSSEC have to respect that
# /run/homepost/floor     seconds since 1970: it cannot be earlier than that (the image was built, the last time known)
# /run/homepost/show      lines that the mail service has the console show
# /run/homepost/doors     a number; another one: which ports are on may have changed
# /run/homepost/trial     this system is on trial: the mail port answers 421, the others are closed
# /run/homepost/tryboot   the next start is to be a trial, which a Raspberry Pi's firmware has to be told
# /run/homepost/open      the ports that the firewall lets in
# /run/homepost/starts/   one file a service, a line for every start
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
state=/run/homepost
mail=/data/mail

# For the screen and the serial console.
say() { printf 'homepost: %s\n' "$*" >/dev/console; }

# For the kernel's log, the only one until the mail service has its own.
log() { printf 'homepost: %s\n' "$*" >/dev/kmsg; }

problem() {
    printf '%s\n' "$*" >$state/problem.new
    mv $state/problem.new $state/problem
    log "$*"
}

# Whether the rescue page has the stores just now.
rescuing() {
    for marker in /tmp/homepost-rescue-*/rescuing; do
        if [ -e "$marker" ]; then return 0; fi
    done
    return 1
}

# Counts a start, and keeps what dies at once from taking the machine with it.
started() { date +%s >>$state/starts/"$1"; }

# The kernel's name of a partition of the disk that the root file system is on, by the partition's label: sda4.
partition() {
    root=$(awk '$5 == "/" { at = $3 } END { print at }' /proc/self/mountinfo)
    for uevent in /sys/dev/block/"$root"/../*/uevent; do
        if grep -qsx "PARTNAME=$1" "$uevent"; then
            basename "$(dirname "$uevent")"
            return 0
        fi
    done
    return 1
}

slot() { sed -n 's/.*homepost\.slot=\([ab]\).*/\1/p' /proc/cmdline; }

# Runs what follows as the user of the mail service, without any privilege. The path, because busybox has a lesser setpriv and
# its shell takes its own tools first.
as_homepost() { /usr/sbin/setpriv --reuid homepost --regid homepost --clear-groups --no-new-privs --bounding-set=-all "$@"; }
