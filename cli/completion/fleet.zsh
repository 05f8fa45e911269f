#compdef fleet
# Completion of fleet for zsh. Load it with:  source <(fleet completion zsh)
# or keep it as _fleet in a folder of $fpath.
_fleet() {
	local -a candidates
	candidates=(${(f)"$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if [[ $candidates[1] == :files ]]; then
		_files
	else
		compadd -- $candidates
	fi
}
if [[ $funcstack[1] == _fleet ]]; then
	_fleet "$@"
else
	compdef _fleet fleet
fi
