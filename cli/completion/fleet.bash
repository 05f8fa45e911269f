# Completion of fleet for bash. Load it with:  source <(fleet completion bash)
_fleet() {
	# bash breaks words at : and =, which URLs and flags have: take the line apart at spaces instead.
	local line=${COMP_LINE:0:COMP_POINT} words current candidate
	read -r -a words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	current=${words[${#words[@]} - 1]}
	local before=${current%"${current##*[:=]}"}
	COMPREPLY=()
	while IFS= read -r candidate; do
		if [[ $candidate == :files ]]; then
			compopt -o default 2>/dev/null
			return
		fi
		COMPREPLY+=("${candidate#"$before"}")
	done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _fleet fleet
