// Package sim runs many simulated devices in one process, over few connections. Each is a whole agent
// with a runtime that only pretends: it takes a while, and fails now and then. What a device does is
// drawn from the seed, its id and the workload, so the same fleet behaves in the same way each time.
//
// Every type of score runs. The data of the type "sim" may steer what happens:
//
//	{"type": "sim", "data": {"fail": "no such image", "delay": "2s"}}
package sim
