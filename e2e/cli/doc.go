// Package cli plays scripts of the command line against an operator that runs: real services, a real NATS server and Kubernetes
// API, simulated devices. One behaviour a file, in testdata; all of them use one operator, in turn, and take away what they made.
package cli
