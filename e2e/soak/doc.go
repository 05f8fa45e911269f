// Package soak applies random edits, restarts and faults to a stack for as long as it is told, and checks
// every invariant whenever it is quiet.
//
//	make soak DURATION=10m SEED=42
//
// What is done is a schedule, a pure function of the seed. When an invariant is violated, the schedule is
// shortened to what still shows it, and printed.
package soak
