// Package backup proves "fleet backup" and "fleet restore" on a fleet that runs: real processes, recorded and judged as
// those of the scenarios are.
package backup
