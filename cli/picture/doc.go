// Package picture says how the operator and its fleet are, from what they last answered.
//
// A [Picture] is folded from rounds of questions: each [Round] has what came back within it, and what did not. An
// answer is kept when its source falls silent, and says so ([Part.Old]): old numbers are never shown as current.
// [Judge] makes one sentence of it:
//
//	unhealthy   the operator cannot do its work: no NATS, a service silent, one that acts has lost a dependency
//	held        the brake keeps deletes back until a person decides
//	degraded    it works, and something is wrong: a replica silent, entries set aside, Deployments with failed devices
//	converging  it is on its way: sources are being read, Deployments rolled out
//	well
//	unknown     nothing was heard yet
//
// The gravest that holds is the state; all that is wrong is listed. The package knows no clock and asks nobody: time
// is data.
package picture
