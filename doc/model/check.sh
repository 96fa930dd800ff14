#!/usr/bin/env bash
# Checks the model of the control protocol with spin, and that it finds the bugs that the mutations bring back. README.md says more.
#   check.sh           short form
#   check.sh --quick   the smallest searches, and the mutations that are found in seconds
#   check.sh --full    and randomised searches under bounds too large to be exhausted
#   check.sh --one NAME [-D...]    one run; NAME is "correct", "sampled" or a mutation's; the trail of a failure is shown
set -uo pipefail
cd "$(dirname "$0")"
model=$PWD/control.pml

# The correct model under bounds that reach different corners; each search is complete.
correct=(
	"-DKILLS=0 -DR=2 -DJOINS=3 -DH=1 -DPINS"
	"-DKILLS=1 -DR=1 -DJOINS=2 -DH=1"
	"-DKILLS=1 -DR=1 -DJOINS=2 -DH=1 -DSTOP -DFAILS=1"
	"-DKILLS=1 -DR=2 -DJOINS=2 -DH=1 -DFIRST=1"
)
# Too large to be exhausted: searched at random, for PATIENCE seconds each.
sampled=(
	"-DKILLS=1 -DR=2 -DJOINS=2 -DH=1 -DSTOP"
	"-DKILLS=2 -DR=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"-DKILLS=2 -DR=2 -DJOINS=4 -DH=2 -DPINS -DSTOP"
	"-DKILLS=2 -DN=3 -DR=3 -DG=2 -DH=3 -DJOINS=4 -DPINS -DSTOP -DFAILS=1"
)
# Each must fail, in a randomised search with fixed seeds.
mutations=(
	"MAP_FIRST -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"OBJECT_FIRST -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"SPLIT_WORD -DKILLS=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"NO_SECOND_LOOK -DKILLS=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"SLOW_RECLAIMER -DKILLS=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"ROW_FIRST -DKILLS=2 -DJOINS=2 -DH=1 -DR=1"
	"FREE_BY_STORE -DKILLS=1 -DJOINS=2 -DH=1 -DR=1"
	"UNLOCK_STORE -DKILLS=0 -DJOINS=3 -DH=1"
	"NO_REPAIR -DKILLS=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"BITS_ONLY -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"STEAL -DKILLS=2 -DJOINS=3 -DH=1 -DFIRST=1"
	"OLD_BITS -DKILLS=1 -DJOINS=3 -DH=2 -DFIRST=1"
	"NO_PREDECESSOR -DKILLS=1 -DJOINS=2 -DH=1 -DR=1"
	"LEAVE_OWING -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"FREE_FIRST -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"ANY_STATE -DKILLS=0 -DJOINS=2 -DH=1"
	"LATE_SETTLE -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"TORN_CHECK -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1"
	"ARRIVE_OWING -DKILLS=1 -DJOINS=2 -DH=1 -DFIRST=1 -DSTOP"
	"ONE_TRY -DKILLS=1 -DJOINS=2 -DH=1"
)

# lives.pml: two directories with equal contents over one memory.
lives=(
	"-DSTARTS=2 -DSESSIONS=1"
	"-DSTARTS=2 -DSESSIONS=2"
)
lives_mutations=(
	"lives_NO_C -DSTARTS=2 -DSESSIONS=1"
	"lives_LATE -DSTARTS=2 -DSESSIONS=1"
	"lives_EARLY -DSTARTS=2 -DSESSIONS=1"
)

# view.pml: a session's view of shared bytes ends in the midst of its calls.
view=(
	"-DCALLERS=2"
	"-DCALLERS=3 -DCLOSE"
)
view_mutations=(
	"view_NO_BAR"
	"view_EARLY"
	"view_LOOK"
	"view_SWAP"
	"view_SETTLE"
	"view_ROW -DCLOSE"
)

fail() { printf 'FAILED  %s: %s\n' "$name" "$1"; exit 1; }

build() { # flags for gcc
	spin -a "${defs[@]}" "$model" >spin.out 2>&1 || { cat spin.out; fail "spin does not accept it"; }
	gcc -w -DSAFETY -DVECTORSZ=512 "$@" -o pan pan.c || fail "pan does not compile"
}

one() {
	name=$1 defs=("${@:2}")
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	cd "$dir"
	case $name in lives* | view*) model=${model%/*}/${name%%_*}.pml ;; esac
	if [ "$name" = correct ] || [ "$name" = lives ] || [ "$name" = view ]; then
		name="$name ${defs[*]}"
		build -O1 -DCOLLAPSE -DMEMLIM=1500
		./pan -m10000 -w22 >pan.out 2>&1
		if grep -q '^pan:1:' pan.out; then
			spin -t -p -g "${defs[@]}" "$model" 2>/dev/null | grep -v 'D_STEP\|\[else\]' | tail -400
		fi
		grep -q 'errors: 0$' pan.out && ! grep -qi 'not completed\|depth too small\|out of memory\|MEMLIM' pan.out ||
			fail "$(grep -i 'pan:\|error\|not completed' pan.out | head -3 | tr '\n' ' ')"
		printf 'ok      %s: %s\n' "$name" "$(awk '/states, stored/{s=$1} /depth reached/{d=$6} END{print s " states, depth " d+0}' pan.out)"
		return
	fi
	if [ "$name" = sampled ]; then
		name="sampled ${defs[*]}" seed=$RANDOM
		build -O1 -DBITSTATE -DP_RAND -DT_RAND
		timeout -s INT "${PATIENCE:-1200}" ./pan -m20000 -w33 -RS$seed >pan.out 2>&1
		states=$(awk '/states, stored/{print $1}' pan.out)
		! grep '^pan:1:' pan.out && [ -n "$states" ] || fail "with seed $seed"
		printf 'ok      %s: %s states, not complete\n' "$name" "$states"
		return
	fi
	mutation=${name#lives_}
	defs+=("-DMUT_${mutation#view_}")
	build -O0 -DBITSTATE -DP_RAND -DT_RAND
	for seed in 1 2 3 4; do
		timeout "${PATIENCE:-120}" ./pan -m10000 -w28 -RS$seed >pan.out 2>&1
		if found=$(grep '^pan:1:' pan.out); then
			printf 'caught  %s: %s, %s states\n' "$name" "${found#pan:1: }" "$(awk '/states, stored/{print $1}' pan.out)"
			[ -z "${TRAIL:-}" ] || spin -t -p -g "${defs[@]}" "$model" | tail -400
			return
		fi
	done
	fail "this bug was not found"
}

case ${1:-} in
--one) one "${@:2}"; exit ;;
--full) ;;
'') sampled=() ;;
--quick)
	sampled=() correct=("${correct[@]:0:2}") lives=("${lives[0]}") view=("${view[0]}")
	few=()
	for m in "${mutations[@]}"; do
		case $m in MAP_FIRST* | OBJECT_FIRST* | NO_SECOND_LOOK* | UNLOCK_STORE* | FREE_BY_STORE*) few+=("$m") ;; esac
	done
	mutations=("${few[@]}")
	;;
*) sed -n '2,6s/^# *//p' "$0"; exit 2 ;;
esac
for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "$tool is needed: apt-get install spin gcc"; exit 2; }
done
self=$PWD/$(basename "$0")
{
	printf 'correct %s\n' "${correct[@]}"
	printf 'lives %s\n' "${lives[@]}"
	printf 'view %s\n' "${view[@]}"
	printf '%s\n' "${mutations[@]}" "${lives_mutations[@]}" "${view_mutations[@]}"
	[ ${#sampled[@]} = 0 ] || printf 'sampled %s\n' "${sampled[@]}"
} | xargs -P "${JOBS:-2}" -L1 "$self" --one || exit 1
[ "${1:-}" != --quick ] || { echo "the model holds in its smallest forms (${SECONDS}s)"; exit; }
# The fourth model is a Go test beside what it models: a span is taken from a session that lives.
(cd ../.. && go test ./shm/dsa -run '^TestTakeModel$' -count 1 -args -model=3) || exit 1
echo "the model holds, and $((${#mutations[@]} + ${#lives_mutations[@]} + ${#view_mutations[@]})) mutations are caught (${SECONDS}s)"
