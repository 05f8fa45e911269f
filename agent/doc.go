// Package agent runs on a device: it keeps the device's workloads as the fleet wants them and reports
// how they are. All decisions are those of package protocol; [Agent.Run] connects them with a
// connection ([Conn], see package link), a [Runtime] that knows how to run workloads, and a [Store]
// (see package disk) that remembers them.
//
// One goroutine per agent feeds the protocol, one event after the other, and carries out its
// actions. Applying and removing workloads takes time: each runs in a goroutine of its own, at most
// one per deployment. Nothing else blocks.
//
// An agent never ends a workload because it lost its connection, its store or its process: only the
// fleet's word does.
package agent
