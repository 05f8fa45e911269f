package fleet

import "pgregory.net/rapid"

// Generators shared by the property tests.

func genName() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`)
}

func genPair() *rapid.Generator[Pair] {
	return rapid.Custom(func(t *rapid.T) Pair {
		return Pair{DeviceID(genName().Draw(t, "device")), DeploymentName(genName().Draw(t, "deployment"))}
	})
}

// illegalNames are no DNS labels; most would change what a subject or a key means.
func illegalNames() []string {
	long := make([]byte, MaxNameLength+1)
	for i := range long {
		long[i] = 'a'
	}
	return []string{
		"", "-", "a-", "-a", "A", "a.b", ".", "a.", ".a", "*", ">", "a*", "a>", "a b", " a", "a\n", "a\x00", "a_b", "_lease",
		"é", "a\u2028", "\xff", "a/b", "$KV", "ａ", string(long),
	}
}
