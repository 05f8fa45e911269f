// Package devstack runs the whole of Harmony Fleet on one machine, for development: NATS with
// JetStream, the Kubernetes API, the three services and simulated devices.
//
//	fleet dev ─┬─ NATS server (in this process)
//	           ├─ kubeapi            child process, skipped with a kubeconfig of your own
//	           ├─ fleet-patcher      child process ┐
//	           ├─ fleet-reconciler   child process ├ restarted when they end
//	           ├─ fleet-aggregator   child process ┘
//	           └─ fleet-sim          child process
//
// Children end when this process does, however it ends: each watches the pipe that is its standard
// input. All data lives in one directory and outlasts restarts, a SIGKILL among them.
package devstack
