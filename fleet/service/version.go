package service

import "runtime/debug"

// Version is the version of the binary, set at link time:
//
//	-ldflags "-X harmony.dev/fleet/service.Version=v1.2.3"
//
// Read it with [BuildVersion]. Nothing in the program writes it.
var Version string

// BuildVersion returns the version set at link time, else the one that the go command recorded, else
// "devel".
func BuildVersion() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
